"""What Hookwire is compared with: TransformerLens and Transformers, in this process."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class Baselines:
    """One checkpoint in both implementations, each loaded when first asked for, in float32.

    Args:
        directory: of the checkpoint.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @cached_property
    def bridge(self) -> Any:
        """TransformerLens's model."""
        from transformer_lens.model_bridge import TransformerBridge

        bridge: Any = TransformerBridge.boot_transformers(
            str(self._directory), device="cpu", dtype=torch.float32
        )
        return bridge.eval()

    @cached_property
    def transformers(self) -> Transformers:
        """Transformers' model with eager attention."""
        return Transformers(self._directory)


class Transformers:
    """Transformers' model with eager attention, and a forward hook on one layer."""

    def __init__(self, directory: Path) -> None:
        from transformers import AutoModelForImageTextToText

        model: Any = AutoModelForImageTextToText.from_pretrained(
            directory, dtype=torch.float32, attn_implementation="eager", local_files_only=True
        )
        self._model = model.eval()
        self._layers = self._model.model.language_model.layers

    def run(self, tokens: Tensor, layer: int, *, logits: bool) -> dict[str, Tensor]:
        """The layer's output and, if asked for, all logits, or no unembedding.

        Args:
            tokens: [batch, pos], without padding.
            layer: whose output to keep.
            logits: whether to compute logits.
        """
        seen: dict[str, Tensor] = {}

        def keep(_module: object, _inputs: object, output: Tensor) -> None:
            seen[f"blocks.{layer}.hook_out"] = output

        handle = self._layers[layer].register_forward_hook(keep)
        try:
            if logits:
                seen["logits"] = self._model(input_ids=tokens, use_cache=False).logits
            else:
                self._model.model(input_ids=tokens, use_cache=False)
        finally:
            handle.remove()
        return seen

    def embed(self, tokens: Tensor) -> Tensor:
        """The embeddings as the first layer sees them, [batch, pos, d_model]."""
        embedded: Tensor = self._model.model.language_model.embed_tokens(tokens)
        return embedded
