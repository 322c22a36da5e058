"""Checkpoints behind daemons, with a cache of everything of two prompts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# Where a daemon and torch share the cores; has to be set before torch loads libgomp.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import hookwire
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.parity.checkpoints import CHECKPOINTS, Checkpoint, write
from tests.parity.daemon import hookwired
from tests.parity.reference import Reference

VARIANTS = ("e-small-fp32", "dense-small-fp32", "moe-small-fp32", "unified-small-fp32")
PROMPT_LENGTH = 11


@dataclass(frozen=True)
class Served:
    """A checkpoint behind a daemon.

    Attributes:
        checkpoint: what it is.
        reference: Transformers and TransformerLens over it.
        model: Hookwire's, with torch tensors.
        tokens: two prompts of one length, [2, pos].
        cache: everything of these.
    """

    checkpoint: Checkpoint
    reference: Reference
    model: hookwire.RemoteModel
    tokens: torch.Tensor
    cache: hookwire.ActivationCache

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """Transformers' weights of the text model, by name, in float64."""
        return {
            name: tensor.double()
            for name, tensor in self.reference.model.model.language_model.state_dict().items()
        }


def prompts(checkpoint: Checkpoint) -> torch.Tensor:
    return torch.tensor([checkpoint.tokens(PROMPT_LENGTH, seed) for seed in (3, 4)])


def serve(checkpoint: Checkpoint, directory: Path, numerics: str = "fast") -> Iterator[Served]:
    kept = directory / "weights"
    with (
        hookwired(directory, numerics=numerics, dtype="auto", threads=1) as address,
        hookwire.connect(address, tensors="torch", quiet=True, cache_weights=kept) as model,
    ):
        tokens = prompts(checkpoint)
        _, cache = model.run_with_cache(tokens)
        yield Served(checkpoint, Reference(directory, checkpoint.dtype), model, tokens, cache)


def _checkpoint(name: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Path]:
    checkpoint = CHECKPOINTS[name]
    return checkpoint, write(checkpoint, tmp_path_factory.mktemp("cache") / name)


@pytest.fixture(scope="session", params=VARIANTS)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """One checkpoint of each variant, in float32."""
    yield from serve(*_checkpoint(request.param, tmp_path_factory))


@pytest.fixture(scope="session", params=["e-odd-bf16", "moe-small-bf16"])
def bfloat16(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Checkpoints in bfloat16, one deep and one with experts."""
    yield from serve(*_checkpoint(request.param, tmp_path_factory))


@pytest.fixture(scope="session")
def e_type(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Per-layer embeddings, shared keys and values, double-wide MLPs; unequal layers."""
    yield from serve(*_checkpoint("e-small-fp32", tmp_path_factory))


@pytest.fixture(scope="session")
def biased(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Attention with biases, which no published checkpoint has."""
    small = CHECKPOINTS["e-small-fp32"]
    checkpoint = replace(small, name="biased", text={**small.text, "attention_bias": True})
    yield from serve(checkpoint, write(checkpoint, tmp_path_factory.mktemp("cache") / "biased"))


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """What TransformerLens's methods assume: equal layers, all layer scalars one, one stream."""
    wide = CHECKPOINTS["unified-wide-fp32"]
    text = {**wide.text, "global_head_dim": wide.text["head_dim"]}
    checkpoint = replace(wide, name="plain", text=text, published=False)
    directory = write(checkpoint, tmp_path_factory.mktemp("cache") / "plain")
    for path in directory.glob("*.safetensors"):
        tensors = load_file(path)
        for name in tensors:
            if name.endswith("layer_scalar"):
                tensors[name] = torch.ones_like(tensors[name])
        save_file(tensors, path, metadata={"format": "pt"})
    yield from serve(checkpoint, directory)


def relative(got: Any, want: Any) -> float:
    """|got - want| / |want|, in float64."""
    got, want = torch.as_tensor(got).double(), torch.as_tensor(want).double()
    assert got.shape == want.shape, (tuple(got.shape), tuple(want.shape))
    return float((got - want).norm() / want.norm())
