"""A server program that says where it listens, for as long as a `with` block lasts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench import SETTINGS

BINARIES = Path(__file__).resolve().parents[1] / "build" / "release" / "bin"
START_SECONDS = 120
STOP_SECONDS = 30


@dataclass(frozen=True)
class Server:
    """A program that runs.

    Attributes:
        pid: its process.
        address: where it listens, "host:port".
    """

    pid: int
    address: str

    def memory(self) -> Memory:
        """What it holds now."""
        return Memory.of(self.pid)

    def cpu_seconds(self) -> float:
        """What its threads have computed so far, in user mode and in the system."""
        return cpu_seconds(Path(f"/proc/{self.pid}/stat").read_text())


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process, in bytes, as /proc/<pid>/status has it.

    Attributes:
        total: all of it (VmRSS).
        files: pages of files (RssFile): mapped weights, programs and libraries.
    """

    total: int
    files: int

    @property
    def own(self) -> int:
        """What is in no file: the heap, stacks, shared memory."""
        return self.total - self.files

    @classmethod
    def of(cls, pid: int) -> Memory:
        """Reads it."""
        status = Path(f"/proc/{pid}/status").read_text()
        found = dict(re.findall(r"^(VmRSS|RssFile):\s+(\d+) kB$", status, re.MULTILINE))
        return cls(int(found["VmRSS"]) * 1024, int(found["RssFile"]) * 1024)


def cpu_seconds(stat: str) -> float:
    """The CPU time in a process's `/proc/<pid>/stat`: a multiple of a clock tick, 10 ms."""
    # The second field is the program's name, which may have spaces; utime and stime are the 14th
    # and 15th.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def environment() -> dict[str, str]:
    """This process's environment, as it was before the package `bench` changed it."""
    return {name: value for name, value in os.environ.items() if name not in SETTINGS}


@contextmanager
def running(command: Sequence[str | Path]) -> Iterator[Server]:
    """Starts a program that prints one line with its address on stdout; ends it with SIGTERM.

    Raises:
        RuntimeError: it is not built, does not start in time, or does not end with status 0.
    """
    name = Path(command[0]).name
    if not Path(command[0]).exists():
        raise RuntimeError(f"{name} is not built: ./run build")
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment()
        )
        assert process.stdout is not None
        # Ends the wait for its first line where none comes.
        watchdog = threading.Timer(START_SECONDS, process.kill)
        watchdog.start()
        try:
            line = process.stdout.readline()
            watchdog.cancel()
            address = re.search(r"[\w.\[\]:]+:\d+", line)
            if address is None:
                raise RuntimeError(f"{name} did not start: {_end_of(log)}")
            yield Server(process.pid, address.group())
        finally:
            watchdog.cancel()
            status = _stop(process)
            process.stdout.close()
        if status != 0:
            raise RuntimeError(f"{name} ended with status {status}: {_end_of(log)}")


@contextmanager
def answering(
    command: Sequence[str | Path],
    address: str,
    ready: Callable[[], bool],
    settings: Mapping[str, str],
) -> Iterator[Server]:
    """Starts a program that is told where to listen; ends it with SIGTERM.

    Args:
        command: that starts it.
        address: where it will listen.
        ready: whether it serves.
        settings: all of its environment.

    Raises:
        RuntimeError: it does not start in time, or does not end by the signal or with status 0.
    """
    name = Path(command[0]).name
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=log, text=True, env=dict(settings)
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{name} did not start: {_end_of(log)}")
                time.sleep(0.1)
            yield Server(process.pid, address)
        finally:
            status = _stop(process)
        if status not in (0, -signal.SIGTERM):
            raise RuntimeError(f"{name} ended with status {status}: {_end_of(log)}")


def _stop(process: subprocess.Popen[str]) -> int:
    process.terminate()
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _end_of(log: IO[str]) -> str:
    log.seek(0)
    return log.read()[-2000:].strip() or "it wrote nothing to stderr"
