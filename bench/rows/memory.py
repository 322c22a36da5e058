"""Resident memory of a daemon while a large result goes to a slow reader."""

from __future__ import annotations

import threading
import time
import warnings
from typing import TYPE_CHECKING

from hookwire.errors import ResultSizeWarning

from bench.checkpoints import MID
from bench.daemon import Daemon, daemon
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
        samples: how many were taken.
    """

    def __init__(self, server: Server, interval: float = 0.01) -> None:
        self._server = server
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.peak_own = self.peak_total = self.samples = 0

    def _sample(self) -> None:
        while not self._ended.wait(self._interval):
            memory = self._server.memory()
            self.peak_own = max(self.peak_own, memory.own)
            self.peak_total = max(self.peak_total, memory.total)
            self.samples += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def read_slowly(served: Daemon, n_pos: int, bytes_per_second: float) -> int:
    """Takes every hook point of a prompt, one tensor after another; returns the bytes."""
    received, start = 0, time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResultSizeWarning)
        for activation in served.model.stream(MID.prompt(n_pos), EVERYTHING, progress=False):
            received += activation.tensor.nbytes
            time.sleep(max(0.0, received / bytes_per_second - (time.perf_counter() - start)))
    return received


def memory(bench: Workbench) -> tuple[Row, ...]:
    """What grows over the idle daemon, weights and libraries left out."""
    n_pos, rate = (256, 256e6) if bench.quick else (1024, 128e6)
    with daemon(MID.directory(), bench.threads) as served:
        served.model(MID.prompt(1))  # so that what every run needs is there
        idle: Memory = served.server.memory()
        with Sampler(served.server) as sampler:
            received = read_slowly(served, n_pos, rate)
    what = f"mid: {received / 2**30:.1f} GiB to a reader of {rate / 1e6:.0f} MB/s"
    note = (
        f"idle {idle.total / 2**20:.0f} MiB, of which {idle.files / 2**20:.0f} MiB are pages of "
        f"files; at most {sampler.peak_total / 2**20:.0f} MiB; weights "
        f"{MID.weight_bytes() / 2**20:.0f} MiB, mapped; {sampler.samples} samples"
    )

    def row(how: str, value: int, goal: int | None) -> Row:
        series = Series(HOOKWIRE, (value,), Unit.BYTES)
        return Row("memory/mid", f"{what}, {how}", series, None, Kind.BOUND, goal, note)

    return (
        row("growth", sampler.peak_own - idle.own, BUDGET),
        row("all but pages of files", sampler.peak_own, None),
    )


ROWS: dict[str, Measure] = {"memory/mid": memory}
