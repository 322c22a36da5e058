"""Tokenizer directories of several kinds, made from a few lines of text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

TEXT = [
    "When Mary and John went to the store , John gave a drink to",
    "a small step for a model , a large one for its reader",
    "tokens are not words ; words are not thoughts",
]
WORDS = ["<pad>", "<eos>", "<bos>", "<unk>", *dict.fromkeys(" ".join(TEXT).split())]


def word_level(unk: str | None = "<unk>", template: str | None = None) -> Tokenizer:
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unk))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if template:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[("<bos>", 2), ("<eos>", 1)]
        )
    return tokenizer


def byte_level(special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def gemma_like() -> Tokenizer:
    """BPE with byte fallback over text whose spaces are "▁", as Gemma's tokenizer.json has it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
        + [f"<0x{byte:02X}>" for byte in range(256)],
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.add_special_tokens([AddedToken("<start_of_turn>", special=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 2)]
    )
    return tokenizer


def padded_in_json() -> Tokenizer:
    tokenizer = word_level()
    tokenizer.enable_padding(direction="left", pad_id=0, pad_token="<pad>")
    tokenizer.enable_truncation(3)
    return tokenizer


NAMED = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
FAST = {"tokenizer_class": "PreTrainedTokenizerFast"}

# name: (tokenizer, tokenizer_config.json or None, special_tokens_map.json or None)
ZOO: dict[str, tuple[Callable[[], Tokenizer], dict[str, Any] | None, dict[str, Any] | None]] = {
    "word-level": (word_level, {**FAST, **NAMED}, None),
    "word-level, template": (lambda: word_level(template="<bos> $A"), {**FAST, **NAMED}, None),
    "word-level, template with eos": (
        lambda: word_level(template="<bos> $A <eos>"),
        {**FAST, **NAMED},
        None,
    ),
    "add_bos_token true": (word_level, {**FAST, **NAMED, "add_bos_token": True}, None),
    "add_bos_token false": (word_level, {**FAST, **NAMED, "add_bos_token": False}, None),
    "add_eos_token true": (word_level, {**FAST, **NAMED, "add_eos_token": True}, None),
    "no pad token": (
        word_level,
        {**FAST, **{k: v for k, v in NAMED.items() if k != "pad_token"}},
        None,
    ),
    "no bos token": (
        word_level,
        {**FAST, **{k: v for k, v in NAMED.items() if k != "bos_token"}},
        None,
    ),
    "no config": (word_level, None, None),
    "no special tokens": (word_level, dict(FAST), None),
    "special_tokens_map": (word_level, dict(FAST), NAMED),
    "flags in special_tokens_map": (
        word_level,
        dict(FAST),
        {
            **NAMED,
            "bos_token": {"content": "<bos>", "lstrip": True, "rstrip": True, "normalized": False},
        },
    ),
    "left padding": (word_level, {**FAST, **NAMED, "padding_side": "left"}, None),
    "left truncation": (word_level, {**FAST, **NAMED, "truncation_side": "left"}, None),
    "padding in tokenizer.json": (padded_in_json, {**FAST, **NAMED}, None),
    "tokens that the vocabulary lacks": (
        word_level,
        {**FAST, **NAMED, "pad_token": "<nothing>", "extra_special_tokens": ["<extra>"]},
        None,
    ),
    "bos is pad": (word_level, {**FAST, **NAMED, "pad_token": "<bos>"}, None),
    "bos is pad, left": (
        word_level,
        {**FAST, **NAMED, "pad_token": "<bos>", "padding_side": "left"},
        None,
    ),
    "colon in bos": (
        lambda: word_level(template="<bos> $A <eos>"),
        {**FAST, **NAMED, "bos_token": "<a:b>"},
        None,
    ),
    "added_tokens_decoder": (
        word_level,
        {
            **FAST,
            **NAMED,
            "added_tokens_decoder": {
                "2": {"content": "<bos>", "special": True, "normalized": False},
                "0": {"content": "<pad>", "special": True, "normalized": False},
            },
        },
        {"bos_token": "<eos>"},
    ),
    "added_tokens.json": (
        word_level,
        {**FAST, **NAMED, "additional_special_tokens": ["<extra>"]},
        None,
    ),
    "byte-level": (
        lambda: byte_level(["<pad>", "<eos>", "<bos>"]),
        {**FAST, **{k: v for k, v in NAMED.items() if k != "unk_token"}},
        None,
    ),
    "byte-level, one special token": (
        lambda: byte_level(["<|endoftext|>"]),
        {**FAST, "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
        None,
    ),
    "byte-level, none": (lambda: byte_level([]), dict(FAST), None),
    "Gemma": (gemma_like, {"tokenizer_class": "GemmaTokenizer", **NAMED}, None),
    "Gemma, nothing named": (gemma_like, {"tokenizer_class": "GemmaTokenizerFast"}, None),
}


def write(name: str, folder: Path) -> dict[str, bytes]:
    """Writes one of the zoo as a checkpoint has it; its files by name."""
    make, config, special = ZOO[name]
    make().save(str(folder / "tokenizer.json"))
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if special is not None:
        (folder / "special_tokens_map.json").write_text(json.dumps(special))
    if name == "added_tokens.json":
        (folder / "added_tokens.json").write_text('{"small step": 40, "<extra>": 41}')
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    # What tells AutoTokenizer that this is a Gemma 4.
    (folder / "config.json").write_text(
        json.dumps({"model_type": "gemma4", "architectures": ["Gemma4ForConditionalGeneration"]})
    )
    return files
