"""Weight files that change while a function runs in the client."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hookwire
import pytest
import torch

from tests.parity.checkpoints import CHECKPOINTS, write
from tests.parity.daemon import hookwired

TOKENS = torch.tensor([[2, 5, 6, 7]])


@contextmanager
def served(directory: Path) -> Iterator[tuple[hookwire.RemoteModel, Path]]:
    """A model behind a daemon of its own, which ends with exit status 0; and its weight file."""
    write(CHECKPOINTS["e-small-fp32"], directory)
    with (
        hookwired(directory, numerics="fast", dtype="auto", threads=1) as address,
        hookwire.connect(address, tensors="torch", quiet=True) as model,
    ):
        yield model, directory / "model.safetensors"


def cut(weights: Path) -> None:
    os.truncate(weights, weights.stat().st_size // 2)


def overwrite(weights: Path) -> None:
    with weights.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"\1" * 8)


@pytest.mark.parametrize("change", [cut, overwrite])
def test_a_run_that_waits_for_its_function_fails(tmp_path: Path, change: Any) -> None:
    with served(tmp_path / "checkpoint") as (model, weights):
        calls = 0

        def function(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
            nonlocal calls
            calls += 1
            change(weights)
            return tensor

        before = model.last_receipt
        with pytest.raises(hookwire.WeightsChangedError, match=r"model\.safetensors"):
            model.run_with_hooks(TOKENS, fwd_hooks=[("blocks.0.hook_resid_pre", function)])
        assert calls == 1
        assert model.last_receipt is before
        with pytest.raises(hookwire.WeightsChangedError) as caught:
            model(TOKENS)
        assert caught.value.metadata["file"] == "model.safetensors"
