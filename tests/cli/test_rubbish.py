"""Whatever a user gets wrong is one line on standard error and exit status 2, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from hookwire._proto import model_pb2
from hookwire.cli import cli
from hookwire.facts.config import config

from tests.cli.conftest import Answer, Command, invoke
from tests.cli.sentences import CLEAN

COMMANDS = ("info", "hooks", "run", "plan", "patch", "lens", "bench")
RUBBISH = (
    "",
    "-1",
    "nan",
    "99999999999999999999999",
    "1,,2",
    "[",
    "float8",
    "\ud800",
    "/no/such/folder/x.png",
)


def operands(name: str) -> list[str]:
    found = cli.commands[name]
    count = sum(isinstance(p, click.Argument) and p.required for p in found.params)
    return [CLEAN, "When Mary and John went to the store , Mary gave a drink to"][:count]


def options() -> Iterator[tuple[str, str]]:
    for name in COMMANDS:
        for parameter in cli.commands[name].params:
            if isinstance(parameter, click.Option) and not parameter.is_flag:
                for spelled in parameter.opts[-1:]:
                    yield name, spelled


def check(told: Answer) -> None:
    """It ran, or it is one line and status 2."""
    assert "Traceback" not in told.err
    assert "error: unexpected" not in told.err
    errors = [line for line in told.err.splitlines() if not line.startswith("hookwire: warning: ")]
    if told.status == 0:
        assert errors == []
        return
    assert told.status == 2, told.err
    assert len(errors) == 1
    assert errors[0].startswith("hookwire: error: ")
    assert len(errors[0]) > len("hookwire: error: ") + 10


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of the rubbish is the name of a file that can be written."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("name", "option"), list(options()), ids=lambda value: value)
def test_an_option_with_rubbish(command: Command, name: str, option: str) -> None:
    extra = ["--repeat", "1"] if name == "bench" and option != "--repeat" else []
    if option == "--dtype":
        extra += ["-c", "hook_embed"]
    refused = 0
    for value in RUBBISH:
        told = command(name, *extra, option, value, *operands(name))
        check(told)
        refused += told.status == 2
    assert refused > 0


@pytest.mark.parametrize("name", COMMANDS)
def test_operands_with_rubbish(command: Command, name: str) -> None:
    count = len(operands(name))
    for value in RUBBISH:
        if value == "-1":
            continue
        check(command(name, *[value] * count))
        if name in ("run", "plan", "patch", "lens"):
            check(command(name, "--ids", *[value] * count))
            check(command(name, "--no-bos", *[value] * count))
    check(command(name, *["x"] * (count + 2)))
    check(command(name, "--no-such-option", *operands(name)))
    check(command("--no-such-option", name))


A, B = operands("patch")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--server", "", "info"), "an address is"),
        (("info", "--server", ""), "an address is"),
        (("hooks", ""), "it is empty: give a name, an alias or a glob"),
        (("run", A, "-c", ""), "'-c' / '--capture': it is empty"),
        (("plan", A, "-c", "hook_embed", "-c", " "), "'-c' / '--capture': it is empty"),
        (("patch", A, B, "--hook", ""), "'--hook': it is empty"),
        (("run", A, "-c", "hook_embed", "-o", ""), "the name of the file is empty"),
        (("lens", A, "-o", ""), "the name of the file is empty"),
        (("run", A, "-o", "x.safetensors"), "there is nothing to write to x.safetensors: -c says"),
        (("run", A, "-c", "hook_embed", "-o", "x.png"), "written as .safetensors, not .png"),
        (("run", A, "--pos", "3"), "--pos is about what is captured: say with -c"),
        (("plan", A, "--dtype", "float32"), "--dtype is about what is captured: say with -c"),
        (("run", "--ids", "2,17", "--no-bos"), "--no-bos is for text, and --ids says"),
        (("lens", "--ids", "2,17", "--bos"), "--bos is for text, and --ids says"),
        (("patch", A, B, "--metric", "prob", "--against", "John"), "--against has no effect with"),
        (("patch", A, B, "--answer", ""), "'' is not a token"),
        (("run", A, "--stop-at-layer", "99"), "--stop-at-layer 99 is outside the 6 layers"),
        (("run", A, "-c", "zzz"), "hookwire hooks lists those of this model"),
    ],
)
def test_what_is_empty_or_contradicts_itself(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    told = command(*arguments)
    assert (told.status, told.out) == (2, "")
    check(told)
    assert said in told.err
    assert "names_filter" not in told.err
    assert list(tmp_path.iterdir()) == []


def test_an_empty_variable_is_none(command: Command) -> None:
    assert command("info", HOOKWIRE_SERVER="").status == 0


def test_a_wrong_dtype_is_said(command: Command) -> None:
    told = command("run", "-c", "hook_embed", "--dtype", "float7", CLEAN)
    assert (told.status, told.out) == (2, "")
    assert "float7" in told.err


def test_words_that_the_tokenizer_does_not_know(command: Command) -> None:
    told = command("run", "The capital of France is")
    assert told.status == 0
    assert told.err.count("\n") == 1
    for word in ("capital", "of", "France", "is"):
        assert f"'{word}'" in told.err
    pair = operands("patch")
    for option in ("--answer", "--against"):
        refused = command("patch", *pair, option, "Zebra")
        assert (refused.status, refused.out) == (2, "")
        assert "'Zebra'" in refused.err


def started(
    *arguments: str | bytes, server: str, **more: object
) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "HOOKWIRE_SERVER": server, **more.pop("env", {})}  # type: ignore[dict-item]
    return subprocess.run(
        [sys.executable, "-m", "hookwire", *arguments],
        stderr=subprocess.PIPE,
        check=False,
        env=environment,
        **more,  # type: ignore[call-overload]
    )


def one_line(told: subprocess.CompletedProcess[bytes]) -> str:
    assert told.returncode == 2, told.stderr
    assert told.stderr.count(b"\n") == 1, told.stderr
    return told.stderr.decode()


def test_arguments_that_are_no_text(server: str) -> None:
    said = one_line(started("run", b"Mary \xff", server=server))
    assert r'the argument "Mary \xff" is not valid Unicode text' in said
    assert "encode" not in said
    said = one_line(started("bench", "--clients", "a", server=server))
    assert "--clients" in said
    assert "it must be a whole number 1 to 256, not 'a'" in said


@pytest.mark.parametrize("content", [b"\xff\x00\xfe", b"", b"\x00" * 10])
def test_standard_input_that_is_no_prompt(server: str, content: bytes) -> None:
    told = started("run", "--no-bos", "-", server=server, input=content, stdout=subprocess.PIPE)
    if content.strip(b"\x00"):
        assert "standard input is not UTF-8" in one_line(told)
    elif not content:
        assert "the prompt is empty" in one_line(told)
    else:
        assert b"Traceback" not in told.stderr


def test_output_that_cannot_be_written(server: str) -> None:
    with Path("/dev/full").open("wb") as full:
        assert "cannot be written" in one_line(started("info", server=server, stdout=full))


def test_a_pipe_that_is_closed_is_silent(server: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    told = started("hooks", server=server, stdout=writer)
    os.close(writer)
    assert (told.returncode, told.stderr) == (141, b"")


def test_an_encoding_without_the_character(server: str) -> None:
    told = started(
        "lens", CLEAN, server=server, stdout=subprocess.PIPE, env={"PYTHONIOENCODING": "ascii"}
    )
    assert (told.returncode, told.stderr) == (0, b"")


def test_an_interrupt_is_status_130(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt  # what SIGINT becomes, where the process does not ignore it

    monkeypatch.setattr("hookwire.connect", interrupted)
    told = invoke("--server", server, "info")
    assert told.status == 130
    assert told.err == "hookwire: interrupted\n"


def test_an_unexpected_error_is_one_line(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a\nfault")

    monkeypatch.setattr("hookwire.connect", broken)
    told = invoke("--server", server, "info")
    assert told.status == 1
    assert told.err.startswith("hookwire: error: unexpected RuntimeError: a fault.")
    assert told.err.count("\n") == 1


def test_tensors_that_are_not_read_are_shown(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "not read" not in command("info").out

    def with_unread(model: model_pb2.Model, *rest: object) -> object:
        model.n_unread_tensors = 3
        model.unread_tensors[:] = ["a.bias", "b.bias", "c.scale"]
        return config(model, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("hookwire.facts.config.config", with_unread)
    told = command("info").out
    assert "3 tensors of the checkpoint are not read: a.bias, b.bias, c.scale" in told
    assert command("--json", "info").json["model"]["n_unread_tensors"] == 3


def test_weight_files_that_are_not_read_are_shown(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_unread(model: model_pb2.Model, *rest: object) -> object:
        model.n_unread_files = 102
        model.unread_files.add(name="adapter_model.safetensors", n_tensors=84)
        model.unread_files.add(name="one.safetensors", n_tensors=1)
        model.unread_files.add(name="pytorch_model.bin")
        return config(model, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("hookwire.facts.config.config", with_unread)
    assert (
        "102 weight files beside the model's are not read: adapter_model.safetensors (84 tensors),"
        " one.safetensors (1 tensor), pytorch_model.bin and 99 more" in command("info").out
    )
    told = command("--json", "info").json["model"]
    assert told["n_unread_files"] == 102
    assert told["unread_files"][0] == {"name": "adapter_model.safetensors", "n_tensors": 84}
    assert told["unread_files"][2]["n_tensors"] is None
