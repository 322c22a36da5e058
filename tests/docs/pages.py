"""Runs what a page shows, and compares what it prints with what the page says."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import hookwire

from tests.docs.blocks import Block, blocks, same

# What pages connect to: the daemon's default.
ADDRESS = "127.0.0.1:7431"


@contextlib.contextmanager
def connected_to(address: str) -> Iterator[None]:
    """Lets `hookwire.connect` with the default address, or without one, reach the test's daemon."""
    connect = hookwire.connect

    def redirected(where: str = ADDRESS, **options: Any) -> hookwire.RemoteModel:
        options = {"quiet": True, "cache_weights": False, **options}
        return connect(address if where == ADDRESS else where, **options)

    with mock.patch.object(hookwire, "connect", redirected):
        yield


def run_page(page: Path, address: str, directory: Path) -> None:
    """Runs every `python` and `console` block of a page, top to bottom.

    The Python blocks share one namespace, as the cells of a notebook do.

    Args:
        page: the page.
        address: of a daemon that serves the toy.
        directory: where the blocks run and write files.

    Raises:
        AssertionError: a block prints something else than the page shows, or raises where the page
            shows no error.
    """
    scope: dict[str, Any] = {"__name__": "__main__"}
    with connected_to(address), contextlib.chdir(directory):
        for block in blocks(page):
            if block.language == "python":
                printed = _python(block, page, scope)
                _compare(block, page, printed)
            elif block.language == "console":
                _console(block, page, address)


def _python(block: Block, page: Path, scope: dict[str, Any]) -> str:
    # The line numbers of the page, for tracebacks.
    source = "\n" * (block.line - 1) + block.code
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(source, str(page), "exec"), scope)
        except Exception as error:
            kind = type(error)
            line = f"{kind.__module__}.{kind.__qualname__}: {error}".removeprefix("builtins.")
            if block.output is None or kind.__qualname__ not in block.output:
                raise
            printed.write(f"{line}\n")
    return printed.getvalue()


def _compare(block: Block, page: Path, printed: str) -> None:
    if block.output is not None and not same(block.output, printed):
        raise AssertionError(
            f"{page.name}:{block.line}: the page shows\n{block.output}\nbut this is printed:\n"
            f"{printed}"
        )


def commands(block: Block) -> list[tuple[str, str]]:
    """The commands of a block, and what it shows behind each.

    A line that begins with `$ ` is a command; it goes on in lines that begin with `> `, and behind
    a backslash.
    """
    found: list[tuple[str, list[str]]] = []
    for line in block.code.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
            continue
        command, shown = found[-1]
        if not shown and (line.startswith("> ") or command.endswith("\\")):
            found[-1] = (f"{command}\n{line.removeprefix('> ')}", shown)
        else:
            shown.append(line)
    return [(command, "\n".join(shown)) for command, shown in found]


def run_command(command: str, address: str) -> tuple[int, str]:
    """Runs a command with bash; its exit status, and what it prints on either output."""
    environment = os.environ | {
        "HOOKWIRE_SERVER": address,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": "100",
    }
    done = subprocess.run(
        ["bash", "-c", command.replace(ADDRESS, address)],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def _console(block: Block, page: Path, address: str) -> None:
    for command, shown in commands(block):
        status, printed = run_command(command, address)
        where = f"{page.name}:{block.line}: {command}\n"
        if not shown:
            assert status == 0, f"{where}{printed}"
        elif not same(shown, printed):
            raise AssertionError(f"{where}the page shows\n{shown}\nbut this is printed:\n{printed}")
