"""Every layer of one prompt in bfloat16, and its last logits alone, on real shapes.

*All layers, all rows*: the output of every layer at every position and the logits of the last one,
so that every layer computes every row. *Last logits*: those alone, for which Hookwire drops rows
that nothing reads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import hookwire
from torch import Tensor

from bench import measure
from bench.checkpoints import MID, MID_BF16, Checkpoint
from bench.figures import Row, Series
from bench.measure import Effort
from bench.published import PUBLISHED
from bench.rows.batch import batch
from bench.rows.hooks import hook, logits
from bench.rows.invariant import invariant
from bench.rows.kind import (
    HOOKWIRE,
    TRANSFORMERS,
    Measure,
    Outputs,
    Side,
    compare,
    require_agreement,
    unrounded,
)
from bench.workbench import Workbench

N_POS = (16, 64, 256)
LAYERS_GOAL = 2.0
LAST_GOAL = 1.5
GAIN_GOAL = 1.7
IN_FLOAT32 = f"{HOOKWIRE}, float32"


def layers(checkpoint: Checkpoint, bench: Workbench) -> tuple[Row, ...]:
    """All layers, all rows; and the last logits alone."""
    model = bench.daemon(checkpoint).model
    reference = bench.baselines(checkpoint).transformers
    names = [f"blocks.{layer}.hook_out" for layer in range(checkpoint.n_layers)]
    rows: list[Row] = []
    for n_pos in N_POS:
        tokens = checkpoint.prompt(n_pos)
        for wanted, what, goal in (
            (names, "all layers, all rows", LAYERS_GOAL),
            ([], "last logits", LAST_GOAL),
        ):
            ours = partial(_ours, model, tokens, wanted)
            theirs = partial(reference.run, tokens, range(len(wanted)), "last")
            rows += compare(
                bench,
                f"layers/{checkpoint.name}",
                f"{checkpoint.name}: {what} of {n_pos} tokens",
                ours,
                {TRANSFORMERS: theirs},
                {TRANSFORMERS: goal},
                effort=_effort(bench),
                exact=unrounded(checkpoint, theirs),
            )
    return tuple(rows)


def gain(bench: Workbench) -> tuple[Row, ...]:
    """All layers, all rows, in bfloat16 against the same in float32, of the same checkpoint."""
    tokens = MID.prompt(N_POS[0])
    names = [f"blocks.{layer}.hook_out" for layer in range(MID.n_layers)]
    sides: dict[str, Side] = {}
    for label, checkpoint in ((HOOKWIRE, MID_BF16), (IN_FLOAT32, MID)):
        ours = partial(_ours, bench.daemon(checkpoint).model, tokens, names)
        reference = bench.baselines(checkpoint).transformers
        theirs = partial(reference.run, tokens, range(MID.n_layers), "last")
        require_agreement(ours(), [theirs()], unrounded(checkpoint, theirs))
        sides[label] = ours
    times = measure.durations(sides, bench.effort)
    return (
        Row(
            f"gain/{MID_BF16.name}",
            f"{MID_BF16.name}: all layers, all rows of {N_POS[0]} tokens",
            Series(HOOKWIRE, times[HOOKWIRE]),
            Series(IN_FLOAT32, times[IN_FLOAT32]),
            goal=GAIN_GOAL,
        ),
    )


def _ours(model: hookwire.RemoteModel, tokens: Tensor, names: list[str]) -> Outputs:
    logits, cache = model.run_with_cache(tokens, names_filter=names, logits_pos=-1)
    return {**{name: cache[name] for name in names}, "logits": logits}


def _effort(bench: Workbench) -> Effort:
    return bench.effort if bench.quick else Effort(seconds=10, least=5, most=101)


KINDS: dict[str, Callable[[Checkpoint, Workbench], tuple[Row, ...]]] = {
    "hook": hook,
    "logits": logits,
    "batch": partial(batch, logits="no"),
    "invariant": invariant,
    "layers": layers,
}
"""Of the checkpoints of real shapes: there is no memory for their weights a second time, which
TransformerLens and a server in a process of its own would need."""
ROWS: dict[str, Measure] = {
    f"layers/{MID_BF16.name}": partial(layers, MID_BF16),
    f"gain/{MID_BF16.name}": gain,
    # One checkpoint after another, since each has the memory for itself.
    **{
        f"{name}/{checkpoint.name}": partial(kind, checkpoint)
        for checkpoint in PUBLISHED
        for name, kind in KINDS.items()
    },
}
