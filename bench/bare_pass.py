"""The forward pass with nothing of a server around it: what the device itself gives."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.process import BINARIES, environment


@contextmanager
def bare_pass(
    checkpoint: Path, threads: int, sequences: int, tokens: int
) -> Iterator[Callable[[], float]]:
    """Gives a function that runs one pass, and returns how many seconds it took.

    Raises:
        RuntimeError: it is not built, or does not start.
    """
    program = BINARIES / "hookwire-bare-pass"
    if not program.exists():
        raise RuntimeError(f"{program.name} is not built: ./run build")
    command: list[str | Path] = [program, checkpoint, *map(str, (threads, sequences, tokens))]
    # As `hookwired` sets it for itself.
    settings = {"GOMP_SPINCOUNT": "1000", **environment()}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=settings
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to, answers = process.stdin, process.stdout
        if not answers.readline():
            raise RuntimeError(f"{program.name} did not start")

        def run() -> float:
            to.write("\n")
            to.flush()
            return float(answers.readline())

        yield run
        to.close()
