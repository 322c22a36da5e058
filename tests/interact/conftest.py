"""Every variant twice: in process, and behind a daemon that computes the same bits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Where a daemon and torch share the cores; has to be set before torch loads libgomp.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import hookwire
import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge

from tests.parity.checkpoints import CHECKPOINTS, Checkpoint, write
from tests.parity.daemon import hookwired

VARIANTS = ("e-small-fp32", "dense-small-fp32", "moe-small-fp32", "unified-small-fp32")
LENGTH = 7  # longer than every window

Body = Callable[[Any], Any]


@pytest.fixture(autouse=True)
def _as_the_daemon() -> Iterator[None]:
    """One thread, on which bits depend, and no gradients: with them TransformerLens copies."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Pair:
    """One checkpoint, in process and behind a daemon.

    Attributes:
        checkpoint: what it is.
        directory: where it is.
        local: TransformerLens's model.
        remote: Hookwire's.
        address: of the daemon.
    """

    checkpoint: Checkpoint
    directory: Path
    local: TransformerBridge
    remote: hookwire.RemoteModel
    address: str

    def tokens(self, seed: int = 3, length: int = LENGTH) -> torch.Tensor:
        """A prompt, [1, pos]."""
        return torch.tensor([self.checkpoint.tokens(length, seed)])

    def same(self, body: Body) -> Any:
        """Runs a body over both models; asks for equal bits, and returns what it gave."""
        there, here = body(self.local), body(self.remote)
        assert_same(here, there)
        return here


def assert_same(here: Any, there: Any, where: str = "result") -> None:
    """Equal, and tensors bit for bit."""
    if isinstance(there, torch.Tensor):
        assert isinstance(here, torch.Tensor), where
        assert here.shape == there.shape, (where, here.shape, there.shape)
        assert here.dtype == there.dtype, (where, here.dtype, there.dtype)
        differs = (here != there) & ~(here.isnan() & there.isnan())
        assert not differs.any(), f"{where}: {int(differs.sum())} of {differs.numel()} differ"
    elif isinstance(there, dict):
        assert list(here) == list(there), where
        for key in there:
            assert_same(here[key], there[key], f"{where}[{key!r}]")
    elif isinstance(there, (list, tuple)):
        assert len(here) == len(there), where
        for number, (mine, other) in enumerate(zip(here, there, strict=True)):
            assert_same(mine, other, f"{where}[{number}]")
    else:
        assert here == there, where


def _pair(name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    checkpoint = CHECKPOINTS[name]
    directory = write(checkpoint, tmp_path_factory.mktemp("interact") / name)
    bridge = TransformerBridge.boot_transformers(
        str(directory), device="cpu", dtype=checkpoint.dtype
    )
    with (
        hookwired(directory, numerics="reference", dtype="auto", threads=1) as address,
        hookwire.connect(address, tensors="torch", quiet=True) as remote,
    ):
        yield Pair(checkpoint, directory, bridge, remote, address)


@pytest.fixture(scope="session", params=VARIANTS)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """One checkpoint of each variant."""
    yield from _pair(request.param, tmp_path_factory)


@pytest.fixture(scope="session")
def e_type(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Per-layer embeddings, and layers that reuse the keys and values of earlier ones."""
    yield from _pair("e-small-fp32", tmp_path_factory)


@pytest.fixture(scope="session")
def bfloat16(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Experts, in bfloat16."""
    yield from _pair("moe-small-bf16", tmp_path_factory)


@pytest.fixture(autouse=True)
def _nothing_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """No hook outlives its test."""
    yield
    for name in ("pair", "e_type", "bfloat16"):
        if name in request.fixturenames:
            made = request.getfixturevalue(name)
            made.local.reset_hooks(including_permanent=True)
            made.remote.reset_hooks(including_permanent=True)
