"""A `hookwired` to do harm to: its process, its address and its log."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.parity.daemon import ROOT, Started, started

TOY = ROOT / "toy" / "checkpoint"
# For a line of the log, and for what is on its way out.
PATIENCE = 30.0
# Longer than the daemon itself waits for its clients.
STOP_SECONDS = 60


class Daemon(Started):
    """A daemon, and what its log says."""

    def log(self) -> list[dict[str, Any]]:
        """The whole lines of its log, in the order in which they were written."""
        whole, _, _ = self.log_file.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def wait_for(self, field: str, value: str) -> dict[str, Any]:
        """The first line of its log with this value in a field.

        Raises:
            AssertionError: there is none, and none comes.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            for line in self.log():
                if line.get(field) == value:
                    return line
            assert time.monotonic() < deadline, f"the log has no {field} {value!r}"
            time.sleep(0.02)

    def ends(self) -> list[dict[str, Any]]:
        """Of the log, the lines that say how a run ended."""
        return [line for line in self.log() if "run" in line]


@contextlib.contextmanager
def daemon(*arguments: str, model: Path = TOY, **how: Any) -> Iterator[Daemon]:
    """A daemon, with one compute thread unless `arguments` say otherwise.

    Args:
        arguments: flags.
        model: a checkpoint's directory.
        how: more keyword arguments of `started`.

    Raises:
        AssertionError: as `started` does.
    """
    flags = ("--threads", "1", "--log-format", "json", *arguments)
    with started(model, *flags, stop_seconds=STOP_SECONDS, **how) as made:
        yield Daemon(made.pid, made.address, made.log_file)
