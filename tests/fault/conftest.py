"""A daemon with small limits for each module, and what it holds when it is idle."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.fault import specs
from tests.fault.client import Client, Script
from tests.fault.daemon import Daemon, daemon
from tests.fault.footprint import Footprint, assert_nothing_leaks, without_clients

# One place for passes that wait for their readers, and one for those that wait for functions; what
# waits for slow readers is small, and so are the passes. Bits do not depend on who shares them.
LIMITS = (
    *("--numerics", "reference"),
    *("--result-buffer-mb", "16", "--max-paced", "1", "--max-interactive", "1"),
    *("--hook-timeout", "600", "--stall-timeout", "600", "--max-batch-tokens", "1024"),
)


@dataclass
class Victim:
    """A daemon that tests do harm to.

    Attributes:
        daemon: it.
        idle: what it held after its first runs, without clients.
        answers: of `WHOLE`, when the daemon had nothing else to do.
        runs: ids of all runs that it has accepted since, as far as tests know them.
    """

    daemon: Daemon
    idle: Footprint
    answers: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.daemon.address

    def start(self, script: Script) -> Client:
        """A client with one run."""
        return Client.runs(self.address, script)

    def leave(self, script: Script) -> list[tuple[Any, ...]]:
        """A client that has one run, and leaves it as the script says; what it told."""
        with self.start(script) as client:
            return self.finish(client)

    def finish(self, client: Client) -> list[tuple[Any, ...]]:
        """All that a client told, when its process has ended."""
        told = client.finish()
        self.runs += client.accepted
        return told

    def answer(self, script: Script) -> str:
        """The digest of the answer of a run that comes to its end."""
        answer, end = self.leave(script)[-2:]
        assert end == ("ended", "OK", ""), script
        return str(answer[1])

    def assert_well(self) -> None:
        """Asserts that nothing leaks, and that runs of every lane give what they gave before."""
        assert_nothing_leaks(self.daemon, self.idle, self.runs)
        assert [self.answer(script) for script in WHOLE] == self.answers


# As much as one pass takes at a time, some eight times over.
LONG = Script(specs.long(64))
# A run of each lane, read to its end.
WHOLE = (
    Script(specs.everything()),
    Script(specs.large(1)),
    Script(specs.interactive(), interacts=True),
)


@contextlib.contextmanager
def a_victim(*arguments: str, warm_up: Script = LONG) -> Iterator[Victim]:
    """A daemon with `LIMITS` and other arguments, which win.

    What its first runs leave behind is no leak: threads that wait, memory that the allocator keeps.

    Args:
        arguments: of the daemon.
        warm_up: the run that works with the most memory.
    """
    with daemon(*LIMITS, *arguments) as started:
        made = Victim(started, Footprint.of(started.pid))
        for _ in range(3):
            made.answer(warm_up)
            made.answers = [made.answer(script) for script in WHOLE]
        made.idle = without_clients(started, made.idle)
        yield made


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    """One for the whole module, with `LIMITS`."""
    with a_victim() as made:
        yield made
