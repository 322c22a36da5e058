"""What Transformers computes for a prompt, to compare with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, Gemma4ForConditionalGeneration
from transformers.utils import logging


def activations(checkpoint: Path, prompt: str, threads: int) -> dict[str, np.ndarray]:
    """The logits and the output of every layer, under Hookwire's names.

    With eager attention, the prompt alone and unpadded: what `--numerics=reference` promises to
    equal bit for bit on as many threads.
    """
    torch.set_num_threads(threads)
    logging.disable_progress_bar()
    model = Gemma4ForConditionalGeneration.from_pretrained(checkpoint, attn_implementation="eager")
    tokens = AutoTokenizer.from_pretrained(checkpoint)(prompt, return_tensors="pt").input_ids
    seen: dict[str, np.ndarray] = {}

    def keep(name: str, output: torch.Tensor) -> None:
        seen[name] = output.numpy().copy()

    for i, layer in enumerate(model.model.language_model.layers):
        layer.register_forward_hook(
            lambda _module, _inputs, output, name=f"blocks.{i}.hook_out": keep(name, output)
        )
    with torch.no_grad():
        seen["logits"] = model(input_ids=tokens).logits.numpy()
    return seen
