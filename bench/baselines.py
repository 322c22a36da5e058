"""What Hookwire is compared with: TransformerLens and Transformers, in this process."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import init_empty_weights
from safetensors.torch import load_file
from torch import Tensor

from bench.checkpoints import Checkpoint

Logits = Literal["no", "last", "all"]
"""Of which positions logits are computed."""


class Baselines:
    """One checkpoint in both implementations, each loaded when first asked for.

    Args:
        checkpoint: which, and the dtype to compute in.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    @cached_property
    def bridge(self) -> Any:
        """TransformerLens's model."""
        from transformer_lens.model_bridge import TransformerBridge

        bridge: Any = TransformerBridge.boot_transformers(
            str(self._checkpoint.directory()), device="cpu", dtype=self._checkpoint.dtype
        )
        return bridge.eval()

    @cached_property
    def transformers(self) -> Transformers:
        """Transformers' model with eager attention."""
        directory, dtype = self._checkpoint.directory(), self._checkpoint.dtype
        return Transformers(directory, dtype, mapped=self._checkpoint.large)


class Transformers:
    """Transformers' model with eager attention, and forward hooks on its layers.

    Args:
        directory: of the checkpoint.
        dtype: to compute in.
        mapped: whether its weights are the mapped files, which need no memory of their own beside
            a daemon's; they must be stored in `dtype` then.
    """

    def __init__(
        self, directory: Path, dtype: torch.dtype = torch.float32, *, mapped: bool = False
    ) -> None:
        from transformers import AutoModelForImageTextToText

        model: Any = (
            _mapped(directory, dtype)
            if mapped
            else AutoModelForImageTextToText.from_pretrained(
                directory, dtype=dtype, attn_implementation="eager", local_files_only=True
            )
        )
        self._model = model.eval()
        self._layers = self._model.model.language_model.layers

    def run(self, tokens: Tensor, layers: Iterable[int], logits: Logits) -> dict[str, Tensor]:
        """The outputs of layers, and logits or no unembedding.

        Args:
            tokens: [batch, pos], without padding.
            layers: whose outputs to keep, of all positions.
            logits: of which positions.
        """
        seen: dict[str, Tensor] = {}

        def keep(name: str) -> Any:
            def hook(_module: object, _inputs: object, output: Tensor) -> None:
                seen[name] = output

            return hook

        handles = [
            self._layers[layer].register_forward_hook(keep(f"blocks.{layer}.hook_out"))
            for layer in layers
        ]
        try:
            if logits == "no":
                self._model.model(input_ids=tokens, use_cache=False)
            else:
                kept: int | Tensor = 0  # keeps all of them
                if logits == "last":
                    # With a number, the layers that reuse keys and values compute the last row
                    # only; with positions, all rows.
                    kept = torch.tensor([-1]) if handles else 1
                output = self._model(input_ids=tokens, use_cache=False, logits_to_keep=kept)
                seen["logits"] = output.logits
        finally:
            for handle in handles:
                handle.remove()
        return seen

    def embed(self, tokens: Tensor) -> Tensor:
        """The embeddings as the first layer sees them, [batch, pos, d_model]."""
        embedded: Tensor = self._model.model.language_model.embed_tokens(tokens)
        return embedded


def _mapped(directory: Path, dtype: torch.dtype) -> Any:
    """The model over the mapped files."""
    import transformers

    make: Any = transformers.AutoModelForImageTextToText.from_config
    config = transformers.AutoConfig.from_pretrained(directory, local_files_only=True)
    with init_empty_weights(include_buffers=False):
        model: Any = make(config, dtype=dtype, attn_implementation="eager")
    weights: dict[str, Tensor] = {}
    for path in sorted(directory.glob("*.safetensors")):
        weights |= load_file(path)
    if any(weight.dtype != dtype for weight in weights.values()):
        raise ValueError(f"{directory}: not stored in {dtype}")
    missing, unexpected = model.load_state_dict(weights, strict=False, assign=True)
    if unexpected or set(missing) - set(model.all_tied_weights_keys):
        raise ValueError(f"{directory}: {missing} missing, {unexpected} unexpected")
    model.tie_weights()
    return model
