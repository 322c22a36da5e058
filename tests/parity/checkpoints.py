"""Random tiny checkpoints of every Gemma 4 variant, as Transformers' `save_pretrained` writes them.

`CHECKPOINTS` names each one; `write` makes it. Every weight is moved away from its trivial
initial value (norm weights, layer scalars, router scales that are not one), so that a server that
leaves one out gives other numbers. Between them they cover what may differ in a published
checkpoint: both forms of config.json, one file and many, tied and untied embeddings, towers and
left-over weights that the text path must leave alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    Gemma4AudioConfig,
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Gemma4TextConfig,
    Gemma4UnifiedConfig,
    Gemma4UnifiedForConditionalGeneration,
    Gemma4VisionConfig,
    PreTrainedModel,
)
from transformers.models.gemma4_unified.configuration_gemma4_unified import (
    Gemma4UnifiedAudioConfig,
    Gemma4UnifiedTextConfig,
    Gemma4UnifiedVisionConfig,
)

from bench.random_weights import SPECIAL, tokenizer

SLIDING, FULL = "sliding_attention", "full_attention"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What to make.

    Attributes:
        name: what tests call it; also its directory.
        text: arguments of the text config.
        dtype: of the stored weights.
        unified: the 12B architecture instead of `Gemma4ForConditionalGeneration`.
        towers: with a vision and an audio part, both tiny.
        tied: whether `lm_head` is the embedding; otherwise it has weights of its own.
        shard_bytes: split into files of about this size, with an index; 0 means one file.
        published: rewrite config.json to the published form (`global_head_dim`,
            `num_global_key_value_heads` in place of `per_layer_config`).
        left_over: with k_proj, v_proj and k_norm weights for KV-shared layers, never used.
        tokenizer_has_bos: whether tokenizer.json itself puts `<bos>` in front.
        seed: of the weights.
    """

    name: str
    text: dict[str, Any]
    dtype: torch.dtype = torch.float32
    unified: bool = False
    towers: bool = False
    tied: bool = True
    shard_bytes: int = 0
    published: bool = False
    left_over: bool = False
    tokenizer_has_bos: bool = True
    seed: int = 0

    @property
    def window(self) -> int:
        """The sliding window, in tokens."""
        return int(self.text["sliding_window"])

    @property
    def vocab_size(self) -> int:
        """Words, special ones included."""
        return int(self.text["vocab_size"])

    def tokens(self, length: int, seed: int = 0) -> list[int]:
        """A random prompt that starts with `<bos>`; another seed gives another prompt."""
        generator = torch.Generator().manual_seed(1000 * seed + length)
        body = torch.randint(
            len(SPECIAL), self.vocab_size, (length - 1,), generator=generator
        ).tolist()
        return [SPECIAL.index("<bos>"), *body]


@dataclass(frozen=True)
class Shape:
    """The sizes that several text configs share; the rest is in `_text`."""

    layer_types: tuple[str, ...]
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    global_head_dim: int
    sliding_window: int
    vocab_size: int
    rest: dict[str, Any] = field(default_factory=dict)


def _text(shape: Shape) -> dict[str, Any]:
    return {
        "layer_types": list(shape.layer_types),
        "num_hidden_layers": len(shape.layer_types),
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": shape.num_key_value_heads,
        "head_dim": shape.head_dim,
        "global_head_dim": shape.global_head_dim,
        "sliding_window": shape.sliding_window,
        "vocab_size": shape.vocab_size,
        "max_position_embeddings": 160,
        "hidden_size_per_layer_input": 0,
        **shape.rest,
    }


def _e_type(shape: Shape, *, per_layer_input: int, kv_shared: int) -> dict[str, Any]:
    return _text(shape) | {
        "hidden_size_per_layer_input": per_layer_input,
        "vocab_size_per_layer_input": shape.vocab_size,
        "num_kv_shared_layers": kv_shared,
        "use_double_wide_mlp": True,
        "final_logit_softcapping": 30.0,
    }


# The last two layers reuse the keys and values of layers 0 and 1.
E_SMALL = _e_type(
    Shape((SLIDING, FULL, SLIDING, FULL), 48, 80, 3, 1, 16, 32, 5, 71),
    per_layer_input=6,
    kv_shared=2,
)
# Widths that are no multiple of a vector; the last three layers reuse those of layers 2 and 3: the
# last of their type, but not the first.
E_ODD = _e_type(
    Shape((SLIDING, SLIDING, FULL, SLIDING, FULL, SLIDING, FULL), 90, 118, 6, 3, 10, 22, 7, 203),
    per_layer_input=9,
    kv_shared=3,
)
# K==V on the full layers, with fewer key-value heads there; a softcap that bfloat16 rounds.
DENSE_SMALL = _text(
    Shape(
        (SLIDING, FULL, FULL), 64, 96, 6, 3, 16, 24, 6, 83,
        {"attention_k_eq_v": True, "num_global_key_value_heads": 2,
         "final_logit_softcapping": 11.3},
    )
)  # fmt: skip
DENSE_ODD = _text(
    Shape(
        (SLIDING, SLIDING, SLIDING, FULL), 106, 150, 5, 5, 14, 26, 4, 131,
        {"attention_k_eq_v": True, "num_global_key_value_heads": 1},
    )
)  # fmt: skip
MOE_SMALL = _text(
    Shape(
        (SLIDING, FULL, FULL), 56, 72, 4, 2, 16, 32, 6, 97,
        {"attention_k_eq_v": True, "num_global_key_value_heads": 1, "enable_moe_block": True,
         "num_experts": 7, "top_k_experts": 3, "moe_intermediate_size": 24,
         "final_logit_softcapping": 30.0},
    )
)  # fmt: skip
MOE_WIDE = _text(
    Shape(
        (SLIDING, SLIDING, FULL), 96, 64, 6, 6, 12, 20, 8, 150,
        {"attention_k_eq_v": True, "num_global_key_value_heads": 3, "enable_moe_block": True,
         "num_experts": 16, "top_k_experts": 4, "moe_intermediate_size": 40,
         "final_logit_softcapping": 30.0},
    )
)  # fmt: skip
UNIFIED_SMALL = _text(
    Shape(
        (SLIDING, FULL, FULL), 60, 100, 5, 1, 12, 28, 5, 77,
        {"attention_k_eq_v": True, "num_global_key_value_heads": 1,
         "final_logit_softcapping": 30.0},
    )
)  # fmt: skip
UNIFIED_WIDE = _text(
    Shape((SLIDING, FULL, SLIDING, FULL), 128, 192, 8, 4, 16, 32, 9, 300, {})
)  # fmt: skip

_FP32, _BF16 = torch.float32, torch.bfloat16

CHECKPOINTS = {
    checkpoint.name: checkpoint
    for checkpoint in (
        Checkpoint("e-small-fp32", E_SMALL, _FP32, seed=1),
        Checkpoint(
            "e-small-bf16", E_SMALL, _BF16, published=True, left_over=True, towers=True, seed=2,
            tokenizer_has_bos=False,
        ),
        Checkpoint(
            "e-odd-fp32", E_ODD, _FP32, shard_bytes=120_000, published=True, left_over=True,
            towers=True, tied=False, seed=3,
        ),
        Checkpoint("e-odd-bf16", E_ODD, _BF16, shard_bytes=60_000, seed=4),
        Checkpoint("dense-small-fp32", DENSE_SMALL, _FP32, published=True, towers=True, seed=5),
        Checkpoint("dense-small-bf16", DENSE_SMALL, _BF16, tied=False, seed=6),
        Checkpoint("dense-odd-fp32", DENSE_ODD, _FP32, tied=False, shard_bytes=90_000, seed=7),
        Checkpoint("dense-odd-bf16", DENSE_ODD, _BF16, published=True, seed=8),
        Checkpoint("moe-small-fp32", MOE_SMALL, _FP32, seed=9),
        Checkpoint("moe-small-bf16", MOE_SMALL, _BF16, published=True, towers=True, seed=10),
        Checkpoint("moe-wide-fp32", MOE_WIDE, _FP32, published=True, shard_bytes=200_000, seed=11),
        Checkpoint("moe-wide-bf16", MOE_WIDE, _BF16, tied=False, seed=12),
        Checkpoint("unified-small-fp32", UNIFIED_SMALL, _FP32, unified=True, towers=True, seed=13),
        Checkpoint(
            "unified-small-bf16", UNIFIED_SMALL, _BF16, unified=True, published=True, towers=True,
            seed=14,
        ),
        Checkpoint(
            "unified-wide-fp32", UNIFIED_WIDE, _FP32, unified=True, published=True, tied=False,
            seed=15,
        ),
        Checkpoint(
            "unified-wide-bf16", UNIFIED_WIDE, _BF16, unified=True, towers=True,
            shard_bytes=150_000, seed=16,
        ),
    )
}  # fmt: skip


def write(checkpoint: Checkpoint, directory: Path) -> Path:
    """Makes the checkpoint in `directory`, which is created; returns it."""
    torch.manual_seed(checkpoint.seed)
    model = _model(checkpoint)
    _randomise(model)
    model.to(checkpoint.dtype)
    limit = checkpoint.shard_bytes or "5GB"
    model.save_pretrained(directory, max_shard_size=limit)
    if checkpoint.left_over:
        _add_left_over_weights(model, directory)
    if checkpoint.published:
        _publish(directory / "config.json", checkpoint.text)
    made = tokenizer(checkpoint.vocab_size, has_bos=checkpoint.tokenizer_has_bos)
    made.save_pretrained(directory)
    return directory


def _model(checkpoint: Checkpoint) -> PreTrainedModel:
    tied = {"tie_word_embeddings": checkpoint.tied}
    if checkpoint.unified:
        text = Gemma4UnifiedTextConfig(**checkpoint.text, **tied)
        vision, audio = _unified_towers(text.hidden_size) if checkpoint.towers else (None, None)
        return Gemma4UnifiedForConditionalGeneration(
            Gemma4UnifiedConfig(text_config=text, vision_config=vision, audio_config=audio, **tied)
        )
    text = Gemma4TextConfig(**checkpoint.text, **tied)
    vision, audio = _towers(text.hidden_size) if checkpoint.towers else (None, None)
    return Gemma4ForConditionalGeneration(
        Gemma4Config(text_config=text, vision_config=vision, audio_config=audio, **tied)
    )


def _towers(text_width: int) -> tuple[Gemma4VisionConfig, Gemma4AudioConfig]:
    vision = Gemma4VisionConfig(
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=12,
        patch_size=4,
        position_embedding_size=32,
    )
    audio = Gemma4AudioConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        subsampling_conv_channels=[4, 4],
        output_proj_dims=text_width,
    )
    return vision, audio


def _unified_towers(text_width: int) -> tuple[Gemma4UnifiedVisionConfig, Gemma4UnifiedAudioConfig]:
    vision = Gemma4UnifiedVisionConfig(
        patch_size=2,
        mm_embed_dim=text_width,
        mm_posemb_size=8,
        output_proj_dims=text_width,
    )
    return vision, Gemma4UnifiedAudioConfig(audio_embed_dim=20)


@torch.no_grad()
def _randomise(model: PreTrainedModel) -> None:
    """Gives every weight of the text path a value that is neither trivial nor tiny."""
    language_model = model.model.language_model
    named = dict(language_model.named_parameters())
    if not model.config.tie_word_embeddings:
        named["lm_head.weight"] = model.lm_head.weight
    for name, weight in named.items():
        if "norm" in name or name.endswith("router.scale"):
            weight.copy_(1 + 0.3 * torch.randn_like(weight))
        elif name.endswith("per_expert_scale"):
            weight.uniform_(0.5, 1.6)
        else:  # a matrix, or a stack of them: keeps the size of what it multiplies
            weight.normal_(std=weight.shape[-1] ** -0.5)
    for layer in language_model.layers:
        layer.layer_scalar.uniform_(0.6, 1.3)


def _add_left_over_weights(model: PreTrainedModel, directory: Path) -> None:
    """Adds weights that the published E-type checkpoints carry and nothing reads."""
    path = sorted(directory.glob("model*.safetensors"))[-1]
    tensors = load_file(path)
    added = {}
    layers = model.model.language_model.layers
    for index, layer in enumerate(layers):
        attention = layer.self_attn
        if not attention.is_kv_shared_layer:
            continue
        source = next(
            other.self_attn
            for other in reversed(layers)
            if other.self_attn.layer_type == attention.layer_type
            and not other.self_attn.is_kv_shared_layer
        )
        for name in ("k_proj", "v_proj", "k_norm"):
            key = f"model.language_model.layers.{index}.self_attn.{name}.weight"
            added[key] = torch.randn_like(getattr(source, name).weight)
    assert added, "no layer of this checkpoint reuses keys and values"
    save_file(tensors | added, path, metadata={"format": "pt"})
    index_path = directory / "model.safetensors.index.json"
    if index_path.exists():
        index = json.loads(index_path.read_text())
        index["weight_map"] |= dict.fromkeys(added, path.name)
        extra = sum(tensor.nbytes for tensor in added.values())
        index["metadata"]["total_size"] += extra
        index_path.write_text(json.dumps(index, indent=2))


def _publish(path: Path, text: dict[str, Any]) -> None:
    """Turns the config that `save_pretrained` wrote into the form of the published models."""
    config = json.loads(path.read_text())
    text_config = config["text_config"]
    del text_config["per_layer_config"]
    text_config["global_head_dim"] = text["global_head_dim"]
    text_config["num_global_key_value_heads"] = text.get("num_global_key_value_heads")
    path.write_text(json.dumps(config, indent=2))
