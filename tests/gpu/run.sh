#!/usr/bin/env bash
# usage: tests/gpu/run.sh [DEVICE [parity|speed]]
#
# On a machine with a GPU, after `./run build` (the torch wheel of requirements/ has its CUDA part): the parity tests with daemon and
# references on DEVICE (cuda), in every numerics mode, then the figures of tests/gpu/measure.py. With one of the two words, that alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export HF_HUB_OFFLINE=1 HOOKWIRE_DEVICE=${1:-cuda}
python=${PYTHON:-.venv/bin/python}
if [[ ${2:-parity} == parity ]]; then
  "$python" -m pytest -n 4 --dist loadfile tests/parity
fi
if [[ ${2:-speed} == speed ]]; then
  "$python" -m tests.gpu.measure --device "$HOOKWIRE_DEVICE"
fi
