"""What a daemon says of a checkpoint with weights that nothing reads, or with broken files."""

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


def add_adapter(model: Path) -> None:
    """An adapter as PEFT writes it, and the weights once more in PyTorch's older format."""
    (model / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    save_file({EXTRA[0]: torch.zeros(2)}, model / "adapter_model.safetensors")
    (model / "pytorch_model.bin").write_bytes(b"PK\x03\x04")


def test_weight_files_that_are_not_read_are_warned_of(toy: Path) -> None:
    add_adapter(toy)
    with daemon(model=toy) as server:
        (warning,) = warnings(server.log())
        assert "weight files of the checkpoint that are not read" in warning["message"]
        assert warning["files"] == 2
        assert warning["file_names"] == "adapter_model.safetensors (1 tensor), pytorch_model.bin"
        with hookwire.connect(server.address, quiet=True) as model:
            assert model.cfg.n_unread_files == 2
            assert [(file.name, file.n_tensors) for file in model.cfg.unread_files] == [
                ("adapter_model.safetensors", 1),
                ("pytorch_model.bin", None),
            ]


def test_tensors_and_files_that_are_not_read_are_one_warning(toy: Path) -> None:
    add_unread(toy)
    add_adapter(toy)
    with daemon(model=toy) as server:
        (warning,) = warnings(server.log())
        assert "tensors and weight files" in warning["message"]
        assert (warning["tensors"], warning["files"]) == (2, 2)


def test_strict_refuses_weight_files_that_are_not_read(toy: Path) -> None:
    add_adapter(toy)
    said = refusal(toy, "--strict")
    for part in ("weight files that are not read (2)", "pytorch_model.bin", "without --strict"):
        assert part in said


def test_an_adapter_config_alone_is_not_warned_of(toy: Path) -> None:
    (toy / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with daemon("--strict", model=toy) as server:
        assert warnings(server.log()) == []


def test_the_toy_is_read_whole() -> None:
    with daemon("--strict") as server:
        assert warnings(server.log()) == []


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_of_every_variant_are_read_whole(name: str, tmp_path: Path) -> None:
    directory = write(CHECKPOINTS[name], tmp_path / name)
    with daemon("--strict", model=directory) as server:
        assert warnings(server.log()) == []


PAGE = "<!DOCTYPE html>\n<html><body>Sign in</body></html>\n"


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
@pytest.mark.parametrize(
    ("text", "what"), [(POINTER, "is a Git LFS pointer"), (PAGE, "is a web page")]
)
def test_what_is_in_place_of_a_tokenizer_file_is_said_at_the_start_and_to_clients(
    toy: Path, file: str, text: str, what: str
) -> None:
    (toy / file).write_text(text)
    with daemon(model=toy) as server:
        (warning,) = warnings(server.log())
        assert f"{toy / file} {what}" in warning["cause"]
        with (
            hookwire.connect(server.address, quiet=True) as model,
            pytest.raises(hookwire.NoTokenizerError, match=f"{file} {what}"),
        ):
            model.to_tokens("Then")


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize(("kept", "what"), [(0, "is empty"), (100, "is cut short")])
def test_a_tokenizer_that_was_not_downloaded_whole_is_said_at_the_start(
    toy: Path, file: str, kept: int, what: str
) -> None:
    (toy / file).write_bytes((toy / file).read_bytes()[:kept])
    with daemon(model=toy) as server:
        (warning,) = warnings(server.log())
        assert f"{toy / file} {what}" in warning["cause"]
        with (
            hookwire.connect(server.address, quiet=True) as model,
            pytest.raises(hookwire.NoTokenizerError, match=file),
        ):
            model.to_tokens("Then")


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_git_lfs_pointer_is_called_so(toy: Path, file: str) -> None:
    (toy / file).write_text(POINTER)
    said = refusal(toy)
    for part in (str(toy / file), "Git LFS pointer", "git lfs pull"):
        assert part in said
