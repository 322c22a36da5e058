"""Checkpoints of Gemma 4's classes with random weights, written tensor by tensor.

So a checkpoint may be larger than memory. Names, shapes and their order in the file are those of
`save_pretrained`; tied weights are stored once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import (
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Gemma4TextConfig,
    PreTrainedTokenizerFast,
)

SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>")
_CODES = {torch.float32: "F32", torch.bfloat16: "BF16"}
_PIECE = 2**24
"""Elements that are made at once."""
_ROUTER_STD = 3.0
"""Of a router's weight. Its input has the norm 1, so this is also the scores' spread over experts:
each token clearly prefers some of them, as with trained weights, and little hangs on a near tie."""


def size(text: Mapping[str, Any], dtype: torch.dtype) -> int:
    """Bytes of the weights that `write` would write."""
    shapes = _shapes(_empty(text, dtype))
    return sum(math.prod(shape) for shape in shapes.values()) * dtype.itemsize


def write(text: Mapping[str, Any], directory: Path, dtype: torch.dtype) -> None:
    """Writes a checkpoint with a tokenizer.

    Args:
        text: arguments of the text config.
        directory: which is made.
        dtype: of the weights.
    """
    model = _empty(text, dtype)
    directory.mkdir(parents=True)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(directory)
    model.generation_config.save_pretrained(directory)
    _write_weights(directory / "model.safetensors", _shapes(model), dtype)
    tokenizer(text["vocab_size"]).save_pretrained(directory)


def _empty(text: Mapping[str, Any], dtype: torch.dtype) -> Any:
    """The model without memory for its parameters."""
    config = Gemma4Config(
        text_config=Gemma4TextConfig(**text, dtype=dtype), tie_word_embeddings=True, dtype=dtype
    )
    with init_empty_weights():
        return Gemma4ForConditionalGeneration(config)


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(tensor.shape)
        for name, tensor in sorted(model.state_dict().items())
        if name not in model.all_tied_weights_keys
    }


def _write_weights(path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype) -> None:
    """The safetensors format: the header's length, the header as JSON, the tensors' bytes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {
            "dtype": _CODES[dtype],
            "shape": list(shape),
            "data_offsets": [begin, end],
        }
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    generator = torch.Generator().manual_seed(0)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for name, shape in shapes.items():
            for piece in _values(name, shape, generator):
                file.write(piece.to(dtype).view(torch.uint8).numpy().data)


def _values(
    name: str, shape: tuple[int, ...], generator: torch.Generator
) -> Iterator[torch.Tensor]:
    """The elements of a parameter, in float32, piece by piece."""
    if name.endswith("layer_scalar"):
        yield torch.ones(shape)
        return
    if name.endswith(("q_norm.weight", "k_norm.weight")):
        # Scores are products of these norms' outputs, without another scale: so they have the
        # spread 1. With ones in the weights it would be √d_head, where attention is a choice of one
        # position, and what is rounded grows from layer to layer.
        mean = shape[0] ** -0.25
        std = 0.1 * mean
    elif "norm" in name or "scale" in name:
        mean, std = 1.0, 0.1
    elif name.endswith("router.proj.weight"):
        mean, std = 0.0, _ROUTER_STD
    else:  # keeps the size of what it multiplies
        mean, std = 0.0, shape[-1] ** -0.5
    left = math.prod(shape)
    while left:
        count = min(left, _PIECE)
        yield torch.empty(count).normal_(mean, std, generator=generator)
        left -= count


def tokenizer(vocab_size: int, *, has_bos: bool = True) -> PreTrainedTokenizerFast:
    """A word-level tokenizer; TransformerLens does not boot without one.

    Args:
        vocab_size: words, `SPECIAL` among them.
        has_bos: whether it puts a beginning-of-sequence token before a text.
    """
    words = (*SPECIAL, *(f"w{i}" for i in range(len(SPECIAL), vocab_size)))
    vocab = {word: index for index, word in enumerate(words)}
    backend = Tokenizer(WordLevel(vocab, unk_token="<unk>"))
    backend.pre_tokenizer = WhitespaceSplit()
    if has_bos:
        backend.post_processor = TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", vocab["<bos>"])]
        )
    make: Any = PreTrainedTokenizerFast
    made: PreTrainedTokenizerFast = make(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        padding_side="left",
    )
    return made
