"""One client and one prompt with a Python function at the middle layer: what it costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import hookwire
from torch import Tensor

from bench.checkpoints import MID, TOY, Checkpoint
from bench.figures import Row
from bench.rows.hooks import N_POS
from bench.rows.kind import TRANSFORMER_LENS, Measure, Outputs, compare
from bench.workbench import Workbench


def reading(checkpoint: Checkpoint, bench: Workbench) -> tuple[Row, ...]:
    """A function that looks at the output of the middle layer."""
    seen: list[Tensor] = []

    def look(tensor: Tensor, hook: Any) -> None:
        seen[:] = [tensor.square().mean()]

    def outputs() -> Outputs:
        return {"mean square": seen[0]}

    return _compare(checkpoint, bench, "read", look, hookwire.read_only(look), outputs)


def editing(checkpoint: Checkpoint, bench: Workbench) -> tuple[Row, ...]:
    """A function that changes it."""

    def halve(tensor: Tensor, hook: Any) -> Tensor:
        return tensor * 0.5

    return _compare(checkpoint, bench, "edit", halve, halve, dict)


def _compare(
    checkpoint: Checkpoint,
    bench: Workbench,
    kind: str,
    theirs: Any,
    ours: Any,
    outputs: Callable[[], Outputs],
) -> tuple[Row, ...]:
    model, bridge = bench.daemon(checkpoint).model, bench.baselines(checkpoint).bridge
    tokens, name = checkpoint.prompt(N_POS), checkpoint.middle

    def run(side: Any, function: Any) -> Outputs:
        logits = side.run_with_hooks(tokens, fwd_hooks=[(name, function)])
        return {"logits": logits[:, -1:], **outputs()}

    return compare(
        bench,
        f"{kind}/{checkpoint.name}",
        f"{checkpoint.name}: a function at {name} of {N_POS} tokens ({kind}), all logits",
        partial(run, model, ours),
        {TRANSFORMER_LENS: partial(run, bridge, theirs)},
    )


ROWS: dict[str, Measure] = {
    f"{name}/{checkpoint.name}": partial(kind, checkpoint)
    for name, kind in (("read", reading), ("edit", editing))
    for checkpoint in (TOY, MID)
}
