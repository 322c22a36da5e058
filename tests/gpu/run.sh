#!/usr/bin/env bash
# usage: tests/gpu/run.sh [DEVICE [parity|speed|all [ARGUMENTS of tests/gpu/measure.py]]]
#
# On a machine with a GPU: the parity tests with daemon and references on DEVICE (cuda), in every numerics mode, then the figures of
# tests/gpu/measure.py, as a table for docs/performance.md. With parity or speed, that alone.
#
# Works in the repository after `./run build`, or in the folder that `./run wheel --torch VERSION --kit` has made (dist/gpu), on a machine
# without compiler and network whose python3 has that torch, and Transformers. PYTHON names another Python.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export HF_HUB_OFFLINE=1 HOOKWIRE_DEVICE=${1:-cuda}
what=${2:-all}
if [[ -d wheels ]]; then
  # An environment that has the wheels and, behind them, the packages of the machine's Python, which may be in an environment itself.
  own=$("${PYTHON:-python3}" -c 'import os, torch; print(os.path.dirname(os.path.dirname(torch.__file__)))')
  env=$(mktemp -d)
  trap 'rm -rf "$env"' EXIT
  "${PYTHON:-python3}" -m venv "$env"
  PYTHON=$env/bin/python
  echo "$own" >"$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/machine.pth"
  "$PYTHON" -m pip install -q --no-index --no-deps --ignore-installed wheels/*.whl
  export HOOKWIRED=$env/bin/hookwired
  "$HOOKWIRED" --version
fi
python=${PYTHON:-.venv/bin/python}
if [[ $what != speed ]]; then
  "$python" -m pytest -n 4 --dist loadfile tests/parity
fi
if [[ $what != parity ]]; then
  "$python" -m tests.gpu.measure --device "$HOOKWIRE_DEVICE" "${@:3}"
fi
