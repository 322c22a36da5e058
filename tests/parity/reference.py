"""What Hookwire is compared with: TransformerLens, Transformers and a direct computation.

A `Reference` holds one checkpoint in one dtype three times over: booted by TransformerLens, loaded
by Transformers (eager attention, default experts), and as a `DirectModel` over the latter, of
which a second one computes in the next wider dtype. Every run takes one unpadded sequence and
returns tensors without a batch axis, on the CPU.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel

from tests.parity.daemon import DEVICE
from tests.parity.direct import WIDER, DirectModel, Edit

# Where they compute: on the daemon's first device, and on the CPU where that is none of torch's.
REFERENCE_DEVICE = torch.device("cpu" if DEVICE.startswith("fake") else DEVICE.split(",")[0])

# Second names that TransformerLens gives, and what they are second names of, within a block.
BLOCK_ALIASES = {
    "hook_resid_pre": "hook_in",
    "hook_resid_post": "hook_out",
    "hook_attn_out": "ln1_post.hook_out",
    "hook_mlp_out": "ln2_post.hook_out",
    "attn.hook_q": "attn.q.hook_out",
    "attn.hook_k": "attn.k.hook_out",
    "attn.hook_v": "attn.v.hook_out",
    "attn.hook_z": "attn.o.hook_in",
    "mlp.hook_pre": "mlp.gate.hook_out",
    "mlp.hook_pre_linear": "mlp.in.hook_out",
    "mlp.hook_post": "mlp.out.hook_in",
}
ALIASES = {"hook_embed": "embed.hook_out", "hook_unembed": "unembed.hook_out"}

# At these TransformerLens writes nothing, or writes somewhere else (see hooks.md).
NOT_THE_SAME_WRITE = ("hook_pattern", "hook_attn_scores", "hook_resid_mid", "router.hook_out")


def canonical(name: str) -> str:
    """The hook point that `name`, perhaps an alias, stands for."""
    if name in ALIASES:
        return ALIASES[name]
    if name.startswith("blocks."):
        _, layer, rest = name.split(".", 2)
        rest = BLOCK_ALIASES.get(rest, rest)
        return f"blocks.{layer}.{rest}"
    return name


class Reference:
    """One checkpoint, as the reference implementations see it.

    Args:
        directory: of the checkpoint.
        dtype: to compute in; the weights are converted where they are stored in another.
    """

    def __init__(self, directory: Path, dtype: torch.dtype) -> None:
        self.directory = directory
        self.dtype = dtype

    @cached_property
    def bridge(self) -> Any:
        """TransformerLens's model."""
        from transformer_lens.model_bridge import TransformerBridge

        return TransformerBridge.boot_transformers(
            str(self.directory), device=str(REFERENCE_DEVICE), dtype=self.dtype
        )

    @cached_property
    def model(self) -> PreTrainedModel:
        """Transformers' model."""
        model = AutoModelForImageTextToText.from_pretrained(
            self.directory, dtype=self.dtype, attn_implementation="eager", local_files_only=True
        )
        return model.eval().to(REFERENCE_DEVICE)

    @cached_property
    def direct(self) -> DirectModel:
        """The direct computation in this dtype."""
        return DirectModel(self.model)

    @cached_property
    def oracle(self) -> DirectModel:
        """The direct computation in the next wider dtype."""
        return DirectModel(self.model, WIDER[self.dtype])

    @property
    def config(self) -> Any:
        """The text config."""
        return AutoConfig.from_pretrained(self.directory).get_text_config()

    @torch.no_grad()
    def logits(self, tokens: list[int]) -> Tensor:
        """Transformers' logits of every position, `[pos, d_vocab]`."""
        return self.model(input_ids=_ids(tokens), logits_to_keep=0).logits[0].cpu()

    @torch.no_grad()
    def cache(self, tokens: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
        """TransformerLens's logits and every activation that its cache holds."""
        logits, cache = self.bridge.run_with_cache(_ids(tokens))
        length = len(tokens)
        seen = {name: _unbatched(value, length).cpu() for name, value in cache.items()}
        return logits[0].cpu(), seen

    @torch.no_grad()
    def edited(self, tokens: list[int], edits: Iterable[tuple[str, Edit]]) -> Tensor:
        """TransformerLens's logits with edits that return a changed copy.

        Raises:
            AssertionError: where a hook never fired, or where TransformerLens discards the edit.
        """
        fired = set()
        length = len(tokens)

        def hook_of(name: str, edit: Edit) -> tuple[str, Any]:
            assert not name.endswith(NOT_THE_SAME_WRITE), name

            def hook(value: Tensor, hook: Any) -> Tensor:
                fired.add(name)
                if _is_flat(value, length):
                    return edit(value.clone())
                return edit(value[0].clone())[None]

            return name, hook

        hooks = [hook_of(name, edit) for name, edit in edits]
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # TransformerLens's "the edit is discarded"
            with REFERENCE_DEVICE:  # of what the edits make
                logits = self.bridge.run_with_hooks(_ids(tokens), fwd_hooks=hooks)
        assert fired == {name for name, _ in hooks}, {name for name, _ in hooks} - fired
        return logits[0].cpu()


def _ids(tokens: list[int]) -> Tensor:
    return torch.tensor([tokens], device=REFERENCE_DEVICE)


def _is_flat(value: Tensor, length: int) -> bool:
    """Whether this is one of the MoE tensors in which batch and position are one axis."""
    return value.dim() == 2 and value.is_floating_point() and value.shape[0] == length


def _unbatched(value: Tensor, length: int) -> Tensor:
    return value if _is_flat(value, length) else value[0]
