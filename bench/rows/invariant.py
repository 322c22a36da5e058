"""What it costs that bits do not depend on a run's neighbours: `--numerics=invariant`."""

from __future__ import annotations

import dataclasses
from functools import partial

import hookwire
from torch import Tensor

from bench.checkpoints import EXPERTS, MID, MID_BF16, Checkpoint
from bench.daemon import daemon
from bench.figures import Kind, Row
from bench.rows.kind import Measure, Outputs, Side, compare, unrounded
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


def invariant(checkpoint: Checkpoint, bench: Workbench) -> tuple[Row, ...]:
    """Both modes, each with a daemon of its own."""
    rows: list[Row] = []
    name = f"blocks.{checkpoint.n_layers - 1}.hook_out"
    last = checkpoint.n_layers - 1
    fast = bench.daemon(checkpoint).model
    reference = bench.baselines(checkpoint).transformers
    with daemon(
        checkpoint.directory(), bench.threads, numerics="invariant", dtype=checkpoint.dtype
    ) as other:
        for n_rows, n_pos in SHAPES:
            tokens = checkpoint.prompts(n_rows, n_pos)
            made = compare(
                bench,
                f"invariant/{checkpoint.name}",
                f"{checkpoint.name}: invariant, {name} of {n_rows} × {n_pos} tokens, last logits",
                side(other.model, name, tokens),
                {FAST: side(fast, name, tokens)},
                exact=unrounded(checkpoint, partial(reference.run, tokens, [last], "last")),
            )
            rows += [dataclasses.replace(row, kind=Kind.COST, goal=GOAL) for row in made]
    return tuple(rows)


ROWS: dict[str, Measure] = {
    f"invariant/{checkpoint.name}": partial(invariant, checkpoint)
    for checkpoint in (MID, MID_BF16, EXPERTS)
}
