"""Hookwire measured against what its users run today, side by side in one run.

    ./run bench [--quick] [--only ROW ...] [--json FILE] [--markdown]

See `bench/README.md` for the rooms of this package and `docs/performance.md` for what it measures.
"""

import os

# OpenMP threads that spin after their work hold up the other side of an interleaved measurement.
# The daemon gives itself the same setting. Has to be there before torch loads libgomp.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
# TransformerLens's patching draws a progress bar of its own.
os.environ.setdefault("TQDM_DISABLE", "1")
