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


def _console(block: Block, page: Path, address: str) -> None:
    """Lines that begin with `$ ` are commands, those with `> ` their further lines."""
    commands: list[tuple[str, list[str]]] = []
    for line in block.code.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        elif line.startswith("> ") and not commands[-1][1]:
            commands[-1] = (f"{commands[-1][0]}\n{line[2:]}", commands[-1][1])
        else:
            commands[-1][1].append(line)
    environment = os.environ | {
        "HOOKWIRE_SERVER": address,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": "100",
    }
    for command, shown in commands:
        done = subprocess.run(
            command.replace(ADDRESS, address),
            shell=True,
            executable="/bin/bash",
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        printed = done.stdout + done.stderr
        if not shown:
            assert done.returncode == 0, f"{page.name}:{block.line}: {command}\n{printed}"
        elif not same("\n".join(shown), printed):
            raise AssertionError(
                f"{page.name}:{block.line}: {command}\nthe page shows\n"
                + "\n".join(shown)
                + f"\nbut this is printed:\n{printed}"
            )
