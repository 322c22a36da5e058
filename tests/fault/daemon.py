"""A `hookwired` to do harm to: its process, its address and its log."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.parity.daemon import HOOKWIRED, ROOT, START_SECONDS

TOY = ROOT / "toy" / "checkpoint"
# For a line of the log, and for what is on its way out.
PATIENCE = 30.0
# Longer than the daemon itself waits for its clients.
STOP_SECONDS = 60


@dataclass(frozen=True)
class Daemon:
    """A daemon that runs.

    Attributes:
        pid: its process.
        address: where it listens, "host:port".
        log_file: what it writes to stderr.
    """

    pid: int
    address: str
    log_file: Path

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
def daemon(*arguments: str, model: Path = TOY) -> Iterator[Daemon]:
    """A daemon, with one compute thread unless `arguments` say otherwise.

    Raises:
        AssertionError: it does not start, or does not end with exit status 0 on SIGTERM.
    """
    command = [
        str(HOOKWIRED), "--model", str(model), "--listen", "127.0.0.1:0", "--threads", "1",
        "--log-format", "json", *arguments,
    ]  # fmt: skip
    with tempfile.NamedTemporaryFile("w") as file:
        log = Path(file.name)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True)
        assert process.stdout is not None
        try:
            ready = select.select([process.stdout], [], [], START_SECONDS)[0]
            line = process.stdout.readline() if ready else ""
            assert line, f"hookwired did not start:\n{log.read_text()}"
            yield Daemon(process.pid, line.split()[-1], log)
        finally:
            process.terminate()
            try:
                status = process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
            finally:
                process.stdout.close()
        assert status == 0, f"hookwired ended with {status}:\n{log.read_text()[-2000:]}"
