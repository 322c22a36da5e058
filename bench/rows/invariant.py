"""What it costs that bits do not depend on a run's neighbours: `--numerics=invariant`."""

from __future__ import annotations

import dataclasses

import hookwire
from torch import Tensor

from bench.checkpoints import EXPERTS, MID, Checkpoint
from bench.daemon import daemon
from bench.figures import Kind, Row
from bench.rows.kind import Measure, Outputs, Side, compare
from bench.workbench import Workbench

GOAL = 1.3
FAST = "Hookwire, fast"
# Rows and tokens of each: what one prompt costs, and what a batch does.
SHAPES = ((1, 16), (8, 32))


def side(model: hookwire.RemoteModel, name: str, tokens: Tensor) -> Side:
    """All layers of some prompts, and the logits of their last positions."""

    def run() -> Outputs:
        logits, cache = model.run_with_cache(tokens, names_filter=name, logits_pos=-1)
        return {name: cache[name], "logits": logits}

    return run


def invariant(bench: Workbench, checkpoint: Checkpoint) -> tuple[Row, ...]:
    """Both modes, each with a daemon of its own."""
    rows: list[Row] = []
    name = f"blocks.{checkpoint.n_layers - 1}.hook_out"
    fast = bench.daemon(checkpoint).model
    with daemon(checkpoint.directory(), bench.threads, numerics="invariant") as other:
        for n_rows, n_pos in SHAPES:
            tokens = checkpoint.prompts(n_rows, n_pos)
            made = compare(
                bench,
                f"invariant/{checkpoint.name}",
                f"{checkpoint.name}: invariant, {name} of {n_rows} × {n_pos} tokens, last logits",
                side(other.model, name, tokens),
                {FAST: side(fast, name, tokens)},
            )
            rows += [dataclasses.replace(row, kind=Kind.COST, goal=GOAL) for row in made]
    return tuple(rows)


ROWS: dict[str, Measure] = {
    f"invariant/{MID.name}": lambda bench: invariant(bench, MID),
    f"invariant/{EXPERTS.name}": lambda bench: invariant(bench, EXPERTS),
}
