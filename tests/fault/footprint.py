"""What a process holds, seen from outside, and whether a daemon holds more than before.

`assert_nothing_leaks` is the one check of all tests here: after a fault the daemon must come back
to what it held when it was idle.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import hookwire

from tests.fault.daemon import PATIENCE, Daemon

# What the allocator may keep of what was freed, for later: with four arenas that share what is
# freed in pieces, some tens of MiB were seen. A result that is not freed has more. A daemon that is
# built with a sanitizer has shadow memory beside its own.
SLACK_BYTES = int(os.environ.get("HOOKWIRE_SLACK_MB", 96)) << 20
# gRPC's own threads, by the first 15 letters of their names: their pools grow with the load, to
# twice the cores, and never shrink.
POOLS = {"default-executo", "resolver-execut", "grpc_global_tim", "event_engine", "nexting_thread"}


@dataclass(frozen=True)
class Footprint:
    """What a process holds now.

    Attributes:
        threads: by name, gRPC's pools left out.
        pooled_threads: those of gRPC's pools.
        descriptors: by kind: "socket", "pipe", "/memfd", a path, ….
        segments: how many mappings of memory files there are.
        resident: bytes that are in no file (VmRSS − RssFile).
    """

    threads: collections.Counter[str]
    pooled_threads: int
    descriptors: collections.Counter[str]
    segments: int
    resident: int

    @classmethod
    def of(cls, pid: int) -> Footprint:
        """Reads it from /proc."""
        process = Path(f"/proc/{pid}")
        threads: collections.Counter[str] = collections.Counter()
        for task in (process / "task").iterdir():
            with contextlib.suppress(OSError):  # it has just ended
                threads[(task / "comm").read_text().strip()] += 1
        pooled = sum(threads.pop(name, 0) for name in POOLS)
        descriptors: collections.Counter[str] = collections.Counter()
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                descriptors[str(descriptor.readlink()).split(":")[0]] += 1
        maps = (process / "maps").read_text().splitlines()
        status = (process / "status").read_text()
        kilobytes = dict(re.findall(r"^(VmRSS|RssFile):\s+(\d+) kB$", status, re.MULTILINE))
        return cls(
            threads,
            pooled,
            descriptors,
            sum("/memfd:" in line for line in maps),
            (int(kilobytes["VmRSS"]) - int(kilobytes["RssFile"])) * 1024,
        )

    def grown(self, since: Footprint) -> list[str]:
        """What is here and was not then; a sentence for each kind."""
        said = [
            f"{count} more {what} {name!r} than the {before[name]} before"
            for what, before, now in (
                ("threads", since.threads, self.threads),
                ("descriptors", since.descriptors, self.descriptors),
            )
            for name, count in (now - before).items()
        ]
        most = 2 * (os.cpu_count() or 1) * len(POOLS)
        if self.pooled_threads > most:
            said.append(f"{self.pooled_threads} threads in gRPC's pools, of at most {most}")
        if self.segments > since.segments:
            said.append(f"{self.segments} mappings of memory files, {since.segments} before")
        if self.resident > since.resident + SLACK_BYTES:
            said.append(f"{self.resident >> 20} MiB of memory, {since.resident >> 20} before")
        return said


def without_clients(daemon: Daemon, before: Footprint) -> Footprint:
    """What a daemon holds once it has let go of its last client's connection.

    Args:
        daemon: without clients.
        before: what it held before the first.
    """
    deadline = time.monotonic() + PATIENCE
    while (now := Footprint.of(daemon.pid)).descriptors["socket"] > before.descriptors["socket"]:
        assert time.monotonic() < deadline, "a connection outlives its client"
        time.sleep(0.02)
    return now


def leaks(daemon: Daemon, idle: Footprint, runs: Iterable[str] = ()) -> list[str]:
    """What a daemon holds that it should not, now.

    Args:
        daemon: without clients.
        idle: what it held without any before.
        runs: ids of all runs that it has accepted since: each must have ended, and once.
    """
    ended = collections.Counter(line["run"] for line in daemon.ends())
    wrong = [f"run {run} has ended {ended[run]} times" for run in runs if ended[run] != 1]
    return wrong + Footprint.of(daemon.pid).grown(idle)


def busy(daemon: Daemon) -> list[str]:
    """What a daemon itself says that it does or holds, of all that an idle one does not."""
    with hookwire.connect(daemon.address, quiet=True, shared_memory=False) as model:
        load = dataclasses.asdict(model.server_load())
    return [f"{count} {what.replace('_', ' ')}" for what, count in load.items() if count]


def assert_nothing_leaks(
    daemon: Daemon, idle: Footprint, runs: Iterable[str] = (), patience: float = PATIENCE
) -> None:
    """Asserts that `leaks` and `busy` find nothing, or nothing more after `patience` seconds."""
    deadline = time.monotonic() + patience
    while wrong := leaks(daemon, idle, runs):
        assert time.monotonic() < deadline, "\n".join(["the daemon leaks:", *wrong])
        time.sleep(0.02)
    # Last: to ask it, one has to be its client.
    while wrong := busy(daemon):
        assert time.monotonic() < deadline, "\n".join(["the daemon says that it has", *wrong])
        time.sleep(0.02)
