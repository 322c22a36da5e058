"""Activation patching over layers × positions: the residual stream, from clean to corrupted."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from hookwire import ops
from torch import Tensor

from bench.checkpoints import MID, TOY, Checkpoint
from bench.figures import Row
from bench.rows.kind import TRANSFORMER_LENS, Measure, Outputs, compare
from bench.workbench import Workbench

N_POS = 16
# The words whose logits are compared; which ones does not matter for the time.
ANSWER, OTHER = 5, 6


def patching(checkpoint: Checkpoint, bench: Workbench) -> tuple[Row, ...]:
    """The logit difference at the last position after each patch: [layer, pos]."""
    model, bridge = bench.daemon(checkpoint).model, bench.baselines(checkpoint).bridge
    clean, corrupted = checkpoint.prompt(N_POS, seed=0), checkpoint.prompt(N_POS, seed=1)
    # Row 0 is the clean prompt; each other row is the corrupted one, patched at its own position.
    rows = torch.cat([clean, corrupted.expand(N_POS, N_POS)])

    def difference(logits: Tensor) -> Tensor:
        return logits[..., -1, ANSWER] - logits[..., -1, OTHER]

    def ours() -> Outputs:
        result = torch.empty(checkpoint.n_layers, N_POS)
        for layer in range(checkpoint.n_layers):
            name = f"blocks.{layer}.hook_resid_pre"
            hooks = [(name, ops.copy(from_row=0, row=1 + pos, pos=pos)) for pos in range(N_POS)]
            logits = model.run_with_hooks(rows, fwd_hooks=hooks, logits_pos=-1)
            result[layer] = difference(logits)[1:]
        return {"difference": result}

    def lens() -> Outputs:
        from transformer_lens.patching import get_act_patch_resid_pre

        def is_wanted(name: str) -> bool:
            return name.endswith("hook_resid_pre")

        _, cache = bridge.run_with_cache(clean, names_filter=is_wanted)
        patched = get_act_patch_resid_pre(
            bridge, corrupted, cache, lambda logits: difference(logits)[0]
        )
        return {"difference": patched}

    # A single sweep of TransformerLens's over `mid` takes half a minute, and the comparison of the
    # outputs has warmed up both sides.
    effort = replace(bench.effort, least=1 if bench.quick else 3, warm_up=0)

    return compare(
        bench,
        f"patching/{checkpoint.name}",
        f"{checkpoint.name}: hook_resid_pre patched at {checkpoint.n_layers} layers × {N_POS} "
        "positions",
        ours,
        {TRANSFORMER_LENS: lens},
        note=(
            f"Hookwire: {checkpoint.n_layers} runs of {len(rows)} rows with logits of the last "
            f"position; TransformerLens: get_act_patch_resid_pre, "
            f"{checkpoint.n_layers * N_POS} runs"
        ),
        effort=effort,
    )


ROWS: dict[str, Measure] = {
    f"patching/{checkpoint.name}": partial(patching, checkpoint) for checkpoint in (TOY, MID)
}
