"""Hookwire measured against what its users run today, side by side in one run.

    ./run bench [--quick] [--only ROW ...] [--json FILE] [--markdown]

See `bench/README.md` for the rooms of this package and `docs/performance.md` for what it measures.
"""

import os

SETTINGS = {
    # OpenMP threads that spin after their work hold up the other side of an interleaved
    # measurement. (The daemon has a setting of its own, for when it shares its cores.) Has to be
    # there before torch loads libgomp.
    "GOMP_SPINCOUNT": "10000",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # TransformerLens's patching draws a progress bar of its own.
    "TQDM_DISABLE": "1",
}
"""Of this process; those that the user has set stay."""

for name, value in SETTINGS.items():
    os.environ.setdefault(name, value)
