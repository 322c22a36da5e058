"""Bytes a second of a large capture to a Python client.

In messages against a bare gRPC stream, and through shared memory against memcpy.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import hookwire
import numpy as np
from torch import Tensor

from bench import agree, measure
from bench.bare import Load, bare_client
from bench.checkpoints import BROAD
from bench.figures import Kind, Row, Series, Unit
from bench.pace import Pace, Stopwatch
from bench.rows.kind import HOOKWIRE, Measure
from bench.workbench import Workbench

# Where next to nothing is computed: an embedding is looked up and scaled.
NAME = "embed.hook_out"
N_ROWS = 16
# Of the messages that the server sends unless the client asks for others.
MESSAGE_BYTES = 2 * 2**20
GOAL = 0.9
SHARED_GOAL = 0.5
DROPS = "bare gRPC stream, dropped"
ASSEMBLES = "bare gRPC stream, assembled"
MESSAGES = "Hookwire, in messages"
COPIES = "memcpy to memory that is there"
COPIES_ANEW = "memcpy to a new array"


def _pace(model: hookwire.RemoteModel, tokens: Tensor) -> Pace:
    """What `run_with_cache` does, with a look at the clock between messages."""
    watch = Stopwatch()
    run = model.stream(tokens, NAME, progress=False)._run
    for event in model._connection.run(run.request.message, None):
        before = run.assembly.received
        run.feed(event)
        watch.received(run.assembly.received - before)
    run.finish()
    return watch.stop()


def _agree(bench: Workbench, model: hookwire.RemoteModel, tokens: Tensor) -> int:
    """Compares the embeddings with Transformers'; their bytes."""
    _, cache = model.run_with_cache(tokens, names_filter=NAME, return_type=None)
    expected = bench.baselines(BROAD).transformers.embed(tokens)
    agree.require({NAME: cache[NAME]}, {NAME: expected})
    return int(expected.nbytes)


def stream(bench: Workbench) -> tuple[Row, ...]:
    """The embeddings of many prompts, in messages; the pass ends before the first layer."""
    tokens = BROAD.prompts(N_ROWS, 256 if bench.quick else 1024)
    address = bench.daemon(BROAD).server.address
    with (
        hookwire.connect(address, quiet=True, shared_memory=False) as model,
        bare_client() as bare,
    ):
        total = _agree(bench, model, tokens)
        load = Load(N_ROWS, total // N_ROWS, MESSAGE_BYTES)
        paces = measure.collect(
            {
                HOOKWIRE: lambda: _pace(model, tokens),
                ASSEMBLES: lambda: bare.assemble(load),
                DROPS: lambda: bare.drop(load),
            },
            bench.effort,
        )

    what = f"{BROAD.name}: {NAME} of {N_ROWS} × {tokens.shape[1]} tokens ({total / 2**20:.0f} MiB)"

    def row(how: str, rate: Callable[[Pace], float], label: str, goal: float | None) -> Row:
        ours, theirs = (
            Series(side, tuple(map(rate, paces[side])), Unit.BYTES_PER_SECOND)
            for side in (HOOKWIRE, label)
        )
        return Row(f"stream/{BROAD.name}", f"{what}, {how}", ours, theirs, Kind.SPEED_UP, goal)

    wire, whole = (lambda pace: pace.rate_after_first), (lambda pace: pace.rate)
    return (
        row("from the first message on", wire, ASSEMBLES, GOAL),
        row("from the first message on", wire, DROPS, None),
        row("the whole call", whole, ASSEMBLES, None),
    )


def shared(bench: Workbench) -> tuple[Row, ...]:
    """The same through shared memory, of prompts that one pass takes."""
    tokens = BROAD.prompts(N_ROWS, 128 if bench.quick else 512)
    served = bench.daemon(BROAD)
    total = _agree(bench, served.model, tokens)
    source, target = np.ones(total, np.uint8), np.ones(total, np.uint8)

    def rate(copy: Callable[[], object]) -> float:
        start = time.perf_counter()
        copy()
        return total / (time.perf_counter() - start)

    with hookwire.connect(served.server.address, quiet=True, shared_memory=False) as plain:
        rates = measure.collect(
            {
                HOOKWIRE: lambda: _pace(served.model, tokens).rate_between,
                MESSAGES: lambda: _pace(plain, tokens).rate_between,
                COPIES: lambda: rate(lambda: np.copyto(target, source)),
                COPIES_ANEW: lambda: rate(source.copy),
            },
            bench.effort,
        )

    def series(label: str) -> Series:
        return Series(label, tuple(rates[label]), Unit.BYTES_PER_SECOND)

    name = f"shared/{BROAD.name}"
    what = (
        f"{BROAD.name}: {NAME} of {N_ROWS} × {tokens.shape[1]} tokens ({total / 2**20:.0f} MiB) "
        "through shared memory, from the first message to the last tensor"
    )
    return tuple(
        Row(name, what, series(HOOKWIRE), series(label), Kind.SPEED_UP, goal)
        for label, goal in ((COPIES, SHARED_GOAL), (COPIES_ANEW, None), (MESSAGES, None))
    )


ROWS: dict[str, Measure] = {f"stream/{BROAD.name}": stream, f"shared/{BROAD.name}": shared}
