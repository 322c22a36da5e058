"""How soon a daemon is ready, against reading the same weights in Python."""

from __future__ import annotations

import operator
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import hookwire
import torch
from safetensors.torch import load_file

from bench import measure
from bench.checkpoints import MID
from bench.daemon import command
from bench.figures import Kind, Row, Series
from bench.measure import Effort
from bench.process import environment, running
from bench.report import amount
from bench.rows.kind import HOOKWIRE, Measure
from bench.workbench import Workbench

GOAL = 1.1
LOADED = "safetensors.torch.load_file, all pages touched"
FRESH = "the same in a fresh Python"
EMPTY = "an empty start"
PAGE_BYTES = 4096
SCRIPT = """
import sys
from safetensors.torch import load_file
for path in sys.argv[1:]:
    for tensor in load_file(path).values():
        tensor.flatten()[:: 4096 // tensor.element_size()].sum()
"""


@dataclass(frozen=True)
class Start:
    """Seconds from the start of the process until it was ready, and until it had answered."""

    ready: float
    answered: float


def load(bench: Workbench) -> tuple[Row, ...]:
    """From the start of the process; the files are in the page cache on either side."""
    files, start = MID.weight_files(), command(MID.directory(), bench.threads)
    tokens = MID.prompt(1)

    def daemon() -> Start:
        begin = time.perf_counter()
        with running(start) as server:
            ready = time.perf_counter() - begin
            with hookwire.connect(server.address, quiet=True) as model:
                model(tokens)
                return Start(ready, time.perf_counter() - begin)

    def in_process() -> Start:
        begin = time.perf_counter()
        load_and_touch(files)
        return _at_once(time.perf_counter() - begin)

    def fresh() -> Start:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", SCRIPT, *files], check=True)
        return _at_once(time.perf_counter() - begin)

    def empty() -> Start:
        begin = time.perf_counter()
        with subprocess.Popen(start[0], stderr=subprocess.PIPE, env=environment()) as process:
            assert process.stderr is not None
            process.stderr.readline()  # that --model is missing
            return _at_once(time.perf_counter() - begin)

    effort = Effort(bench.effort.seconds, least=3, most=9, warm_up=1)
    starts = measure.collect(
        {HOOKWIRE: daemon, EMPTY: empty, LOADED: in_process, FRESH: fresh}, effort
    )
    ready = Series(HOOKWIRE, tuple(start.ready for start in starts[HOOKWIRE]))
    answered = Series(HOOKWIRE, tuple(start.answered for start in starts[HOOKWIRE]))
    loaded, anew, nothing = (
        Series(label, tuple(start.ready for start in starts[label]))
        for label in (LOADED, FRESH, EMPTY)
    )
    # What a process that is linked with libtorch takes before it does anything is no loading.
    load_alone = Series(HOOKWIRE, tuple(map(operator.sub, ready.values, nothing.values)))
    note = f"{EMPTY} says that --model is missing after {amount(nothing.median, nothing.unit)}"
    what = f"mid: {MID.weight_bytes() / 2**20:.0f} MiB of weights"
    return (
        Row("load/mid", f"{what}, ready", ready, loaded, Kind.COST, GOAL, note),
        Row("load/mid", f"{what}, ready less {EMPTY}", load_alone, loaded, Kind.COST, GOAL, note),
        Row("load/mid", f"{what}, ready", ready, anew, Kind.COST, GOAL, note),
        Row(
            "load/mid", f"{what}, first token's logits there", answered, anew, Kind.COST, None, note
        ),
    )


def load_and_touch(files: list[Path]) -> None:
    """Reads tensors and one element of each of their pages."""
    for path in files:
        for tensor in load_file(path).values():
            flat: torch.Tensor = tensor.flatten()
            flat[:: PAGE_BYTES // tensor.element_size()].sum()


def _at_once(seconds: float) -> Start:
    return Start(seconds, seconds)


ROWS: dict[str, Measure] = {"load/mid": load}
