"""The checkpoints that are measured: the bundled toy, and random ones, made when needed.

Weights that are made are random: speed does not depend on what a model has learnt. They are kept in
the cache directory (`bench.cache`): 1 GB for `mid`, 0.8 GB for `wide`, 29 GB for the shapes of
published models.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from bench import random_weights
from bench.cache import CACHE, require_disk
from bench.random_weights import SPECIAL

ROOT = Path(__file__).resolve().parents[1]
SLIDING, FULL = "sliding_attention", "full_attention"
BOS = SPECIAL.index("<bos>")
_IN_BFLOAT16 = "-bf16"
_WRITER = 3
"""Of what `random_weights` writes: another number makes the checkpoints anew."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint to measure with.

    Attributes:
        name: what rows call it.
        n_layers: layers.
        d_vocab: words.
        text: arguments of the text config; None for one that is bundled.
        stored: dtype of its weights.
        dtype: in which all sides compute.
        large: of the size of a published model: its weights are mapped on all sides, and nothing
            else is kept running beside it.
    """

    name: str
    n_layers: int
    d_vocab: int
    text: dict[str, Any] | None = field(default=None, hash=False)
    stored: torch.dtype = torch.float32
    dtype: torch.dtype = torch.float32
    large: bool = False

    @property
    def middle(self) -> str:
        """The hook point that most rows capture: the output of layer n/2."""
        return f"blocks.{self.n_layers // 2}.hook_out"

    def prompt(self, n_pos: int, seed: int = 0) -> torch.Tensor:
        """Token ids [1, pos]: `<bos>` and random words."""
        generator = torch.Generator().manual_seed(seed)
        body = torch.randint(len(SPECIAL), self.d_vocab, (n_pos - 1,), generator=generator)
        return torch.cat([torch.tensor([BOS]), body])[None]

    def prompts(self, rows: int, n_pos: int) -> torch.Tensor:
        """Different prompts, [row, pos]."""
        return torch.cat([self.prompt(n_pos, seed) for seed in range(rows)])

    def directory(self) -> Path:
        """Where it lies; it is made first where it is not there yet."""
        if self.text is None:
            return ROOT / "toy" / "checkpoint"
        made_of = json.dumps([_WRITER, str(self.stored), self.text], sort_keys=True)
        digest = hashlib.sha256(made_of.encode()).hexdigest()
        name = self.name.removesuffix(_IN_BFLOAT16)
        directory = CACHE / f"{name}-{digest[:12]}"
        if not directory.exists():
            require_disk(random_weights.size(self.text, self.stored), f"the checkpoint {name}")
            print(f"making the checkpoint {name} in {directory}", file=sys.stderr, flush=True)
            unfinished = directory.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            random_weights.write(self.text, unfinished, self.stored)
            unfinished.rename(directory)
        return directory

    def in_bfloat16(self) -> Checkpoint:
        """The same weights, and bfloat16 to compute in."""
        return replace(self, name=f"{self.name}{_IN_BFLOAT16}", dtype=torch.bfloat16)

    def weight_bytes(self) -> int:
        """Of its weight files."""
        return sum(path.stat().st_size for path in self.weight_files())

    def weight_files(self) -> list[Path]:
        """Its safetensors, in the order of their names."""
        return sorted(self.directory().glob("*.safetensors"))


# Of all that are made here.
COMMON: dict[str, Any] = {
    "max_position_embeddings": 32768,
    "bos_token_id": BOS,
    "eos_token_id": SPECIAL.index("<eos>"),
    "pad_token_id": SPECIAL.index("<pad>"),
    "tie_word_embeddings": True,
}


def _e_type(layers: int, vocab: int, width: int, mlp: int, heads: int, ple: int) -> dict[str, Any]:
    """Two sliding layers, one full one, and so on; the last third reuses keys and values."""
    return {
        "layer_types": [FULL if i % 3 == 2 else SLIDING for i in range(layers)],
        "num_hidden_layers": layers,
        "vocab_size": vocab,
        "vocab_size_per_layer_input": vocab,
        "hidden_size": width,
        "hidden_size_per_layer_input": ple,
        "intermediate_size": mlp,
        "num_attention_heads": heads,
        "num_key_value_heads": 1,
        "head_dim": 128,
        "global_head_dim": 256,
        "num_kv_shared_layers": layers // 3,
        "use_double_wide_mlp": True,
        "sliding_window": 512,
        "final_logit_softcapping": 30.0,
        **COMMON,
    }


TOY = Checkpoint("toy", n_layers=6, d_vocab=59)
# 248 M parameters.
MID = Checkpoint("mid", 12, 32768, _e_type(12, 32768, width=1024, mlp=3072, heads=8, ple=64))
# 209 M parameters, of which the embedding has 134 M; the logits of one position have 1 MiB.
WIDE = Checkpoint("wide", 6, 262144, _e_type(6, 262144, width=512, mlp=1536, heads=4, ple=32))
# 90 M parameters, of which 75 M are in 32 experts a layer; each token takes 4.
EXPERTS = Checkpoint(
    "experts",
    6,
    8192,
    {
        "layer_types": [FULL if i % 3 == 2 else SLIDING for i in range(6)],
        "num_hidden_layers": 6,
        "vocab_size": 8192,
        "hidden_size": 512,
        "hidden_size_per_layer_input": 0,
        "intermediate_size": 512,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "num_global_key_value_heads": 1,
        "attention_k_eq_v": True,
        "head_dim": 64,
        "global_head_dim": 128,
        "enable_moe_block": True,
        "num_experts": 32,
        "top_k_experts": 4,
        "moe_intermediate_size": 256,
        "sliding_window": 512,
        "final_logit_softcapping": 30.0,
        **COMMON,
    },
)
CHECKPOINTS = (TOY, MID, WIDE)
MID_BF16 = MID.in_bfloat16()
# As wide as a large model, with no per-layer embeddings: what it takes to embed a token is little
# beside the 16 KiB that its embedding has. Rows that compute use the others.
BROAD = Checkpoint(
    "broad",
    2,
    8192,
    {
        "layer_types": [SLIDING, FULL],
        "num_hidden_layers": 2,
        "vocab_size": 8192,
        "hidden_size": 4096,
        "hidden_size_per_layer_input": 0,
        "intermediate_size": 256,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 64,
        "global_head_dim": 64,
        **COMMON,
    },
)
