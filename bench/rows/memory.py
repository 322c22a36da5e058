"""Resident memory of a daemon while a large result goes to a slow reader."""

from __future__ import annotations

import math
import threading
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hookwire.errors import ResultSizeWarning
from torch import Tensor

from bench.checkpoints import MID, WIDE, Checkpoint
from bench.daemon import daemon
from bench.figures import Kind, Row, Series, Unit
from bench.process import Memory, Server
from bench.rows.kind import HOOKWIRE, Measure
from bench.workbench import Workbench

if TYPE_CHECKING:
    from typing_extensions import Self

# The daemon's default for results that wait for slow readers.
BUDGET = 256 * 2**20
EVERYTHING = "**"


class Sampler:
    """Samples a process's memory for as long as a `with` block lasts.

    Attributes:
        peak_own: the most that was in no file.
        peak_total: the most of all.
    """

    def __init__(self, server: Server, interval: float = 0.01) -> None:
        self._server = server
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.peak_own = self.peak_total = 0

    def _sample(self) -> None:
        while not self._ended.wait(self._interval):
            memory = self._server.memory()
            self.peak_own = max(self.peak_own, memory.own)
            self.peak_total = max(self.peak_total, memory.total)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


@dataclass(frozen=True)
class Growth:
    """What a result did to a daemon's memory.

    Attributes:
        received: bytes of the result.
        idle: before it.
        peak_own: the most that was in no file.
        peak_total: the most of all.
    """

    received: int
    idle: Memory
    peak_own: int
    peak_total: int

    def row(self, name: str, what: str, goal: int | None) -> Row:
        """The growth of what is in no file."""
        mebi = 2**20
        note = (
            f"{what}: idle {self.idle.total / mebi:.0f} MiB, of which {self.idle.files / mebi:.0f} "
            f"MiB are pages of files; at most {self.peak_total / mebi:.0f} MiB"
        )
        series = Series(HOOKWIRE, (max(0, self.peak_own - self.idle.own),), Unit.BYTES)
        size = f"{self.received / 2**30:.1f} GiB"
        return Row(name, f"{what}, {size}", series, None, Kind.BOUND, goal, note)


def stream(
    bench: Workbench, checkpoint: Checkpoint, tokens: Tensor, rate: float, **wanted: Any
) -> Growth:
    """Streams a result from a new daemon to a client that takes `rate` bytes a second.

    In messages: what lies in shared memory waits for no reader, and has a limit of its own.
    """
    with (
        daemon(checkpoint.directory(), bench.threads, shared_memory=False) as served,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", ResultSizeWarning)
        served.model(checkpoint.prompt(1))  # so that what every run needs is there
        idle = served.server.memory()
        received, start = 0, time.perf_counter()
        with Sampler(served.server) as sampler:
            for activation in served.model.stream(tokens, progress=False, **wanted):
                received += activation.tensor.nbytes
                time.sleep(max(0.0, received / rate - (time.perf_counter() - start)))
    return Growth(received, idle, sampler.peak_own, sampler.peak_total)


def everything(bench: Workbench) -> tuple[Row, ...]:
    """Every hook point of one prompt: to a slow reader, and to one that takes all at once."""
    tokens = MID.prompt(256 if bench.quick else 1024)
    slow = stream(bench, MID, tokens, 256e6 if bench.quick else 128e6, names_filter=EVERYTHING)
    quick = stream(bench, MID, tokens, math.inf, names_filter=EVERYTHING)
    what = f"mid: everything of {tokens.shape[1]} tokens"
    return (
        slow.row("memory/mid", f"{what} to a slow reader", BUDGET),
        quick.row("memory/mid", f"{what} to a fast reader", None),
    )


def logits(bench: Workbench) -> tuple[Row, ...]:
    """All logits of many prompts."""
    tokens = WIDE.prompts(4 if bench.quick else 16, 64)
    growth = stream(bench, WIDE, tokens, 256e6, names_filter=[], return_type="logits")
    what = f"wide: all logits of {len(tokens)} × {tokens.shape[1]} tokens to a slow reader"
    return (growth.row("memory/wide", what, BUDGET),)


ROWS: dict[str, Measure] = {"memory/mid": everything, "memory/wide": logits}
