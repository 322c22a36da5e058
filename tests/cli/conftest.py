"""Fixtures: a daemon on the toy, and the command in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hookwire
import pytest
from click.testing import CliRunner
from hookwire.cli import cli

from tests.client.test_daemon import wait_for_digest
from tests.parity.daemon import ROOT, hookwired

TOY = ROOT / "toy" / "checkpoint"


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.status == 0, self.err
        return json.loads(self.out)


Command = Callable[..., Answer]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with hookwired(TOY, numerics="reference", dtype="float32", threads=1) as address:
        wait_for_digest(address)
        yield address


@pytest.fixture
def model(server: str) -> Iterator[hookwire.RemoteModel]:
    with hookwire.connect(server, tensors="numpy", quiet=True) as model:
        yield model


def invoke(*arguments: str, stdin: str = "", **environment: str | None) -> Answer:
    """Runs the command in this process, with no terminal unless the environment says so."""
    plain: dict[str, str | None] = {"FORCE_COLOR": None, "HOOKWIRE_SERVER": None}
    result = CliRunner().invoke(
        cli, arguments, input=stdin, env=plain | environment, prog_name="hookwire"
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def command(server: str) -> Command:
    """The command, connected to the daemon."""

    def run(*arguments: str, **options: Any) -> Answer:
        return invoke("--server", server, *arguments, **options)

    return run


@pytest.fixture
def terminal(server: str) -> Command:
    """The command on a terminal of 100 columns."""

    def run(*arguments: str, columns: int = 100) -> Answer:
        return invoke(
            "--server",
            server,
            *arguments,
            FORCE_COLOR="1",
            COLORTERM="truecolor",
            TERM="xterm-256color",
            COLUMNS=str(columns),
        )

    return run


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG\r\n") and path.stat().st_size > 1000
