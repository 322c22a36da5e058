"""Checkpoints with the shapes of published models, in bfloat16 and with full vocabularies."""

from __future__ import annotations

from typing import Any

import torch

from bench.checkpoints import COMMON, FULL, SLIDING, Checkpoint


def _published(name: str, text: dict[str, Any]) -> Checkpoint:
    """A shape of a published model, in bfloat16 as these are published."""
    whole = {
        "num_hidden_layers": len(text["layer_types"]),
        "vocab_size": 262144,
        "head_dim": 256,
        "global_head_dim": 512,
        "final_logit_softcapping": 30.0,
        **text,
        **COMMON,
        "max_position_embeddings": 131072,
    }
    bfloat16 = torch.bfloat16
    layers = whole["num_hidden_layers"]
    return Checkpoint(name, layers, whole["vocab_size"], whole, bfloat16, bfloat16, large=True)


# All of E2B: 4.6 G parameters, of which the per-layer embeddings have 2.3 G.
E2B = _published(
    "e2b",
    {
        "layer_types": ([SLIDING] * 4 + [FULL]) * 7,
        "vocab_size_per_layer_input": 262144,
        "hidden_size": 1536,
        "hidden_size_per_layer_input": 256,
        "intermediate_size": 6144,
        "num_attention_heads": 8,
        "num_key_value_heads": 1,
        "num_kv_shared_layers": 20,
        "use_double_wide_mlp": True,
        "sliding_window": 512,
    },
)
# One period of 26B-A4B's layers, of five: 5.6 G parameters, of which the experts have 4.6 G.
A4B = _published(
    "26b",
    {
        "layer_types": [SLIDING] * 5 + [FULL],
        "hidden_size": 2816,
        "hidden_size_per_layer_input": 0,
        "intermediate_size": 2112,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "num_global_key_value_heads": 2,
        "attention_k_eq_v": True,
        "enable_moe_block": True,
        "num_experts": 128,
        "top_k_experts": 8,
        "moe_intermediate_size": 704,
        "sliding_window": 1024,
    },
)
# One period of 31B's layers, of ten: 4.3 G parameters.
DENSE = _published(
    "31b",
    {
        "layer_types": [SLIDING] * 5 + [FULL],
        "hidden_size": 5376,
        "hidden_size_per_layer_input": 0,
        "intermediate_size": 21504,
        "num_attention_heads": 32,
        "num_key_value_heads": 16,
        "num_global_key_value_heads": 4,
        "attention_k_eq_v": True,
        "sliding_window": 1024,
    },
)
PUBLISHED = (E2B, A4B, DENSE)
