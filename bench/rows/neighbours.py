"""What one client costs another: one that reads slowly, uploads, dies, or has very many runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
from hookwire import ops

from bench import measure, nuisance
from bench.checkpoints import MID
from bench.clients import Clients, Outcome, drive
from bench.figures import Kind, Row, Series
from bench.measure import Effort
from bench.rows.kind import HOOKWIRE, Measure
from bench.rows.serving import ask_for
from bench.workbench import Workbench

N_POS = 16
GOAL = 1.2
ALONE = "the same client alone"
SHALLOW = "beside one with 1 run at a time"
DEPTH = 64
# Seconds until the other client's first run no longer computes.
SETTLES = 1.0
UPLOADS = 8

Start = Callable[[], AbstractContextManager[None]]


def neighbour(bench: Workbench) -> tuple[Row, ...]:
    """The 99th percentile of a client's runs, while another does what it should not feel."""
    address = bench.daemon(MID).model.server.address
    target = ask_for(bench, MID, MID.prompts(1, N_POS), MID.middle)
    worker = bench.worker("clients")
    # A pass that its reader paces; a single layer; values for a place before the first layer.
    everything = ask_for(bench, MID, MID.prompts(1, 1024), "**").requests[0]
    layer = ask_for(bench, MID, MID.prompts(1, N_POS), "blocks.0.**", stop_at_layer=1).requests[0]
    spec, size = _upload(bench)

    def beside(function: Callable[..., None], *arguments: Any) -> Start:
        # Each has a process of its own: what dies forks, which gRPC does not survive.
        return partial(bench.worker(function.__name__).during, function, address, *arguments)

    starts: dict[str, Start] = {
        ALONE: nullcontext,
        "while another reads at 1 MB/s": beside(nuisance.read_slowly, everything),
        "while another uploads 100 MB/s": beside(nuisance.upload, spec, UPLOADS, size),
        "while others die, 4 a second": beside(nuisance.die, layer),
    }

    def run(start: Start) -> Outcome:
        with start():
            time.sleep(SETTLES)
            return worker.call(drive, [Clients(target)], 1.0 if bench.quick else 3.0)[0]

    times = _times(bench, {label: partial(run, start) for label, start in starts.items()})
    alone = times.pop(ALONE)
    return tuple(
        Row(
            f"neighbour/{MID.name}",
            f"{MID.name}: p99 of a client's runs of {N_POS} tokens {label}",
            series,
            alone,
            Kind.COST,
            GOAL,
        )
        for label, series in times.items()
    )


def flood(bench: Workbench) -> tuple[Row, ...]:
    """The same beside a client with many runs at once, against one with a single run."""
    small = ask_for(bench, MID, MID.prompts(1, N_POS), MID.middle)
    many = ask_for(bench, MID, MID.prompts(16, 2 * N_POS), MID.middle)
    worker = bench.worker("clients")

    def run(depth: int) -> Outcome:
        groups = [Clients(small), Clients(many, depth=depth)]
        return worker.call(drive, groups, 1.0 if bench.quick else 6.0)[0]

    times = _times(bench, {SHALLOW: partial(run, 1), HOOKWIRE: partial(run, DEPTH)})
    return (
        Row(
            f"flood/{MID.name}",
            f"{MID.name}: p99 of a client's runs of {N_POS} tokens beside one with {DEPTH} of "
            f"{2 * N_POS} tokens at once",
            times[HOOKWIRE],
            times[SHALLOW],
            Kind.COST,
            GOAL,
        ),
    )


def _times(bench: Workbench, sides: dict[str, Callable[[], Outcome]]) -> dict[str, Series]:
    """What runs took, of several stretches of time together, by side."""
    rounds = 1 if bench.quick else 5
    outcomes = measure.collect(sides, Effort(0, least=rounds, most=rounds, warm_up=0))
    return {
        label: Series(
            HOOKWIRE if label != ALONE and label != SHALLOW else label,
            tuple(latency for outcome in outcomes[label] for latency in outcome.latencies),
            quantile=0.99,
        )
        for label in sides
    }


def _upload(bench: Workbench) -> tuple[bytes, int]:
    """A run that takes uploads and computes no layer: its spec, and the bytes of each upload."""
    model = bench.daemon(MID).model
    prompt = MID.prompts(1, 1024)
    value = np.zeros((prompt.shape[1], model.cfg.d_model))
    hooks = [("embed.hook_out", ops.set(value))] * UPLOADS
    run = model.stream(prompt, "embed.hook_out", fwd_hooks=hooks, pos_slice=0)._run
    assert len(run.request.uploads) == UPLOADS
    return run.request.message.spec.SerializeToString(), value.nbytes


ROWS: dict[str, Measure] = {f"neighbour/{MID.name}": neighbour, f"flood/{MID.name}": flood}
