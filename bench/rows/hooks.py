"""One client and one prompt: a mid-layer hook, the same with all logits, and everything."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from bench.checkpoints import CHECKPOINTS, MID, TOY, Checkpoint
from bench.figures import Row
from bench.rows.kind import TRANSFORMER_LENS, TRANSFORMERS, Measure, Outputs, compare
from bench.workbench import Workbench

N_POS = 16
# How many times as fast as TransformerLens with the same filter.
HOOK_GOALS = {TOY.name: 5.0, MID.name: 2.0}
LOGITS_GOALS = {MID.name: 1.2}
STOPPED = f"{TRANSFORMER_LENS}, stop_at_layer"


def hook(checkpoint: Checkpoint, bench: Workbench) -> tuple[Row, ...]:
    """The output of the middle layer, and nothing else."""
    model = bench.daemon(checkpoint).model
    bridge, reference = (b := bench.baselines(checkpoint)).bridge, b.transformers
    tokens, name, layer = checkpoint.prompt(N_POS), checkpoint.middle, checkpoint.n_layers // 2

    def ours() -> Outputs:
        _, cache = model.run_with_cache(tokens, names_filter=name, return_type=None)
        return {name: cache[name]}

    def lens(stop_at_layer: int | None = None) -> Outputs:
        _, cache = bridge.run_with_cache(
            tokens, names_filter=name, return_type=None, stop_at_layer=stop_at_layer
        )
        return {name: cache[name]}

    return compare(
        bench,
        f"hook/{checkpoint.name}",
        f"{checkpoint.name}: {name} of {N_POS} tokens, no logits",
        ours,
        {
            TRANSFORMER_LENS: lens,
            STOPPED: partial(lens, layer + 1),
            TRANSFORMERS: lambda: reference.run(tokens, layer, logits=False),
        },
        _goal(HOOK_GOALS, checkpoint),
    )


def logits(checkpoint: Checkpoint, bench: Workbench) -> tuple[Row, ...]:
    """The output of the middle layer, and the logits of every position."""
    model = bench.daemon(checkpoint).model
    bridge, reference = (b := bench.baselines(checkpoint)).bridge, b.transformers
    tokens, name, layer = checkpoint.prompt(N_POS), checkpoint.middle, checkpoint.n_layers // 2

    def outputs(result: tuple[Tensor, dict[str, Tensor]]) -> Outputs:
        whole, cache = result
        return {"logits": whole, name: cache[name]}

    return compare(
        bench,
        f"logits/{checkpoint.name}",
        f"{checkpoint.name}: {name} of {N_POS} tokens, all logits",
        lambda: outputs(model.run_with_cache(tokens, names_filter=name)),
        {
            TRANSFORMER_LENS: lambda: outputs(bridge.run_with_cache(tokens, names_filter=name)),
            TRANSFORMERS: lambda: reference.run(tokens, layer, logits=True),
        },
        _goal(LOGITS_GOALS, checkpoint),
    )


def everything(checkpoint: Checkpoint, bench: Workbench) -> tuple[Row, ...]:
    """Every hook point that TransformerLens's cache holds, and all logits."""
    model, bridge = bench.daemon(checkpoint).model, bench.baselines(checkpoint).bridge
    tokens = checkpoint.prompt(N_POS)
    names = [name for name in bridge.run_with_cache(tokens)[1] if _same_in_both(name)]

    def outputs(result: tuple[Tensor, dict[str, Tensor]]) -> Outputs:
        whole, cache = result
        return {"logits": whole, **{name: cache[name] for name in names}}

    planned = model.plan(tokens, names)
    return compare(
        bench,
        f"everything/{checkpoint.name}",
        f"{checkpoint.name}: all of TransformerLens's cache of {N_POS} tokens, all logits",
        lambda: outputs(model.run_with_cache(tokens, names_filter=names)),
        {TRANSFORMER_LENS: lambda: outputs(bridge.run_with_cache(tokens))},
        note=(
            f"{len(names)} names, {len(planned.tensors)} tensors, "
            f"{planned.total_bytes / 2**20:.1f} MiB"
        ),
    )


def _same_in_both(name: str) -> bool:
    """Whether the name means the same tensor: rotary and the scores do not in TransformerLens."""
    return not name.startswith("rotary_emb") and not name.endswith("hook_attn_scores")


def _goal(goals: dict[str, float], checkpoint: Checkpoint) -> dict[str, float]:
    goal = goals.get(checkpoint.name)
    return {} if goal is None else {TRANSFORMER_LENS: goal}


ROWS: dict[str, Measure] = {
    f"{kind.__name__}/{checkpoint.name}": partial(kind, checkpoint)
    for kind in (hook, logits, everything)
    for checkpoint in CHECKPOINTS
}
