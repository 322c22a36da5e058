"""The rows: what is compared with what. A module for each kind."""

from __future__ import annotations

from bench.rows import (
    batch,
    everything,
    functions,
    hooks,
    interp_engine,
    invariant,
    layers,
    load,
    memory,
    neighbours,
    patching,
    serving,
    stream,
)
from bench.rows.kind import Measure

ROWS: dict[str, Measure] = {
    **hooks.ROWS,
    **everything.ROWS,
    **functions.ROWS,
    **batch.ROWS,
    **invariant.ROWS,
    **patching.ROWS,
    **serving.ROWS,
    **interp_engine.ROWS,
    **neighbours.ROWS,
    **stream.ROWS,
    **load.ROWS,
    **memory.ROWS,
    **layers.ROWS,
}
"""What `--only` may name, in the order in which it runs."""

__all__ = ["ROWS", "Measure"]
