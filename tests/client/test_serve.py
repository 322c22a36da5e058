"""A daemon that the client starts and ends."""

from __future__ import annotations

import os
import signal
import stat
import sysconfig
import time
from pathlib import Path

import hookwire
import pytest
from hookwire import aio

from tests.parity.daemon import HOOKWIRED, ROOT

TOY = ROOT / "toy" / "checkpoint"
PROMPT = "When Mary and John went to the store"
FLAGS = ["--threads", "1", "--digest-cache", ""]


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKWIRED", str(HOOKWIRED))


def script(folder: Path, text: str) -> Path:
    """A program in place of the daemon."""
    program = folder / "program"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def runs(pid: int) -> bool:
    """Whether there is a process of this id, a dead one that nobody has waited for included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def daemons() -> set[int]:
    """The children of this process."""
    return {
        int(child)
        for task in Path("/proc/self/task").iterdir()
        for child in (task / "children").read_text().split()
    }


def test_a_daemon_serves_for_a_block_and_ends_with_it() -> None:
    before = daemons()
    with hookwire.serve(TOY, flags=FLAGS, numerics="reference", quiet=True) as model:
        (pid,) = daemons() - before
        assert model.server.address.startswith("127.0.0.1:")
        assert model.server.numerics == "reference"
        assert model(PROMPT, logits_pos=-1).shape == (1, 1, model.cfg.d_vocab)
        assert os.getsid(pid) == pid  # Ctrl-C in a terminal does not reach it
    assert not runs(pid)
    with pytest.raises(hookwire.ClosedError):
        model(PROMPT)


def test_a_daemon_ends_where_the_block_raises() -> None:
    before = daemons()
    with (  # noqa: PT012
        pytest.raises(KeyError, match="mine"),
        hookwire.serve(TOY, flags=FLAGS, quiet=True),
    ):
        (pid,) = daemons() - before
        raise KeyError("mine")
    assert not runs(pid)


async def test_an_asynchronous_model_on_a_daemon_of_its_own() -> None:
    before = daemons()
    async with aio.serve(TOY, flags=FLAGS, quiet=True) as model:
        (pid,) = daemons() - before
        assert (await model(PROMPT, logits_pos=-1)).shape == (1, 1, model.cfg.d_vocab)
    assert not runs(pid)


def test_the_daemon_is_the_argument_or_else_the_variable_or_else_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = script(tmp_path, "echo it is me >&2; exit 3")
    with pytest.raises(hookwire.DaemonError, match="it is me"), hookwire.serve(TOY, daemon=other):
        pass
    monkeypatch.delenv("HOOKWIRED")
    other.rename(tmp_path / "hookwired")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(hookwire.DaemonError, match="it is me"), hookwire.serve(TOY):
        pass


def test_a_daemon_beside_this_python_goes_before_one_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, "echo it is beside >&2; exit 3").rename(tmp_path / "hookwired")
    (tmp_path / "other").mkdir()
    script(tmp_path / "other", "exit 3").rename(tmp_path / "other" / "hookwired")
    monkeypatch.delenv("HOOKWIRED")
    monkeypatch.setenv("PATH", str(tmp_path / "other"), prepend=os.pathsep)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: {"scripts": str(tmp_path)}[name])
    with pytest.raises(hookwire.DaemonError, match="it is beside"), hookwire.serve(TOY):
        pass


def test_where_there_is_no_daemon_it_is_said_how_to_name_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOKWIRED", "/nowhere/hookwired")
    said = "HOOKWIRED names /nowhere/hookwired, which is not a program"
    with pytest.raises(hookwire.DaemonError, match=said), hookwire.serve(TOY):
        pass
    with (
        pytest.raises(
            hookwire.DaemonError, match=r"^daemon= names nothing, which is not a program"
        ),
        hookwire.serve(TOY, daemon="nothing"),
    ):
        pass
    monkeypatch.delenv("HOOKWIRED")
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(hookwire.DaemonError, match="no hookwired beside this Python or on"),
        hookwire.serve(TOY),
    ):
        pass


def test_a_daemon_that_does_not_start_says_why(tmp_path: Path) -> None:
    before = daemons()
    said = rf"did not start: it ended with status 2; its last lines:\n.*no directory {tmp_path}/no"
    with pytest.raises(hookwire.DaemonError, match=said), hookwire.serve(tmp_path / "no"):
        pass
    assert daemons() == before


def test_the_last_lines_are_the_last(tmp_path: Path) -> None:
    long = script(tmp_path, "seq 1 5000 >&2; exit 1")
    with pytest.raises(hookwire.DaemonError) as caught, hookwire.serve(TOY, daemon=long):
        pass
    assert str(caught.value).split("\n")[1:] == [str(number) for number in range(4981, 5001)]


def test_a_daemon_that_never_serves_is_ended(tmp_path: Path) -> None:
    slow = script(tmp_path, "exec sleep 600")
    before, begin = daemons(), time.monotonic()
    said = r"does not serve after 0\.3 seconds"
    with (
        pytest.raises(hookwire.DaemonError, match=said),
        hookwire.serve(TOY, daemon=slow, timeout=0.3),
    ):
        pass
    assert time.monotonic() - begin < 20
    assert daemons() == before


def test_a_daemon_that_ends_in_the_block_says_its_last_lines() -> None:
    before = daemons()
    with (  # noqa: PT012
        pytest.raises(hookwire.DaemonError, match="ended by itself, with status -9"),
        hookwire.serve(TOY, flags=FLAGS, quiet=True) as model,
    ):
        (pid,) = daemons() - before
        os.kill(pid, signal.SIGKILL)
        model(PROMPT)
