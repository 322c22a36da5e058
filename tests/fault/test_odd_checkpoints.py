"""What a daemon says of a checkpoint with tensors that nothing reads, or with a Git LFS pointer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import hookwire
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.fault.daemon import TOY, daemon
from tests.parity.checkpoints import CHECKPOINTS, write
from tests.parity.daemon import HOOKWIRED, START_SECONDS

EXTRA = (
    "base_model.model.layers.0.self_attn.q_proj.lora_A.weight",
    "model.language_model.layers.1.mlp.up_proj.bias",
)
POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    "size 9600000000\n"
)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(TOY, tmp_path / "toy"))


def warnings(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in log if line["level"] in ("warning", "error")]


def refusal(model: Path, *arguments: str) -> str:
    """The one line with which a daemon ends that cannot serve `model`."""
    command = [HOOKWIRED, "--model", model, "--listen", "127.0.0.1:0", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS)
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr


def add_unread(model: Path) -> None:
    file = model / "model.safetensors"
    tensors = load_file(file)
    assert not tensors.keys() & set(EXTRA)
    save_file({**tensors, **{name: torch.zeros(2) for name in EXTRA}}, file)


def test_unread_tensors_are_warned_of_once(toy: Path) -> None:
    add_unread(toy)
    with daemon(model=toy) as server:
        (warning,) = warnings(server.log())
        assert "nothing reads" in warning["message"]
        assert warning["tensors"] == 2
        assert warning["names"] == ", ".join(EXTRA)
        with hookwire.connect(server.address, quiet=True) as model:
            assert model.cfg.n_unread_tensors == 2
            assert model.cfg.unread_tensors == EXTRA


def test_strict_refuses_unread_tensors(toy: Path) -> None:
    add_unread(toy)
    said = refusal(toy, "--strict")
    for part in ("hookwired: ", str(toy), "(2)", *EXTRA, "without --strict"):
        assert part in said


def test_the_toy_is_read_whole() -> None:
    with daemon("--strict") as server:
        assert warnings(server.log()) == []


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_of_every_variant_are_read_whole(name: str, tmp_path: Path) -> None:
    directory = write(CHECKPOINTS[name], tmp_path / name)
    with daemon("--strict", model=directory) as server:
        assert warnings(server.log()) == []


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_git_lfs_pointer_is_called_so(toy: Path, file: str) -> None:
    (toy / file).write_text(POINTER)
    said = refusal(toy)
    for part in (str(toy / file), "Git LFS pointer", "git lfs pull"):
        assert part in said
