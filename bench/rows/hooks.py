"""One client and one prompt: a mid-layer hook, and the same with all logits."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from bench.checkpoints import CHECKPOINTS, MID, MID_BF16, TOY, Checkpoint
from bench.figures import Row
from bench.rows.kind import TRANSFORMER_LENS, TRANSFORMERS, Measure, Outputs, compare, unrounded
from bench.workbench import Workbench

N_POS = 16
# How many times as fast as TransformerLens with the same filter.
HOOK_GOALS = {TOY.name: 5.0, MID.name: 2.0, MID_BF16.name: 3.0}
LOGITS_GOALS = {MID.name: 1.2}
STOPPED = f"{TRANSFORMER_LENS}, stop_at_layer"


def hook(checkpoint: Checkpoint, bench: Workbench) -> tuple[Row, ...]:
    """The output of the middle layer, and nothing else."""
    model = bench.daemon(checkpoint).model
    reference = bench.baselines(checkpoint).transformers
    # TransformerLens would hold a large checkpoint's weights a second time.
    bridge = None if checkpoint.large else bench.baselines(checkpoint).bridge
    tokens, name, layer = checkpoint.prompt(N_POS), checkpoint.middle, checkpoint.n_layers // 2

    def ours() -> Outputs:
        _, cache = model.run_with_cache(tokens, names_filter=name, return_type=None)
        return {name: cache[name]}

    def lens(stop_at_layer: int | None = None) -> Outputs:
        assert bridge is not None
        _, cache = bridge.run_with_cache(
            tokens, names_filter=name, return_type=None, stop_at_layer=stop_at_layer
        )
        return {name: cache[name]}

    def theirs() -> Outputs:
        return reference.run(tokens, [layer], "no")

    return compare(
        bench,
        f"hook/{checkpoint.name}",
        f"{checkpoint.name}: {name} of {N_POS} tokens, no logits",
        ours,
        {
            **({TRANSFORMER_LENS: lens, STOPPED: partial(lens, layer + 1)} if bridge else {}),
            TRANSFORMERS: theirs,
        },
        _goal(HOOK_GOALS, checkpoint),
        exact=unrounded(checkpoint, theirs),
    )


def logits(checkpoint: Checkpoint, bench: Workbench) -> tuple[Row, ...]:
    """The output of the middle layer, and the logits of every position."""
    model = bench.daemon(checkpoint).model
    reference = bench.baselines(checkpoint).transformers
    bridge = None if checkpoint.large else bench.baselines(checkpoint).bridge
    tokens, name, layer = checkpoint.prompt(N_POS), checkpoint.middle, checkpoint.n_layers // 2

    def outputs(result: tuple[Tensor, dict[str, Tensor]]) -> Outputs:
        whole, cache = result
        return {"logits": whole, name: cache[name]}

    def lens() -> Outputs:
        assert bridge is not None
        return outputs(bridge.run_with_cache(tokens, names_filter=name))

    def theirs() -> Outputs:
        return reference.run(tokens, [layer], "all")

    return compare(
        bench,
        f"logits/{checkpoint.name}",
        f"{checkpoint.name}: {name} of {N_POS} tokens, all logits",
        lambda: outputs(model.run_with_cache(tokens, names_filter=name)),
        {**({TRANSFORMER_LENS: lens} if bridge else {}), TRANSFORMERS: theirs},
        _goal(LOGITS_GOALS, checkpoint),
        exact=unrounded(checkpoint, theirs),
    )


def _goal(goals: dict[str, float], checkpoint: Checkpoint) -> dict[str, float]:
    goal = goals.get(checkpoint.name)
    return {} if goal is None else {TRANSFORMER_LENS: goal}


ROWS: dict[str, Measure] = {
    f"{kind.__name__}/{checkpoint.name}": partial(kind, checkpoint)
    for kind in (hook, logits)
    for checkpoint in (*CHECKPOINTS, MID_BF16)
}
