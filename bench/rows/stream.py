"""Bytes a second of a large capture to a Python client, against a bare gRPC stream."""

from __future__ import annotations

from collections.abc import Callable

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
DROPS = "bare gRPC stream, dropped"
ASSEMBLES = "bare gRPC stream, assembled"


def stream(bench: Workbench) -> tuple[Row, ...]:
    """The embeddings of many prompts; the pass ends before the first layer."""
    model = bench.daemon(BROAD).model
    tokens = BROAD.prompts(N_ROWS, 256 if bench.quick else 1024)
    total = model.plan(tokens, NAME, stop_at_layer=0, return_type=None).total_bytes
    load = Load(N_ROWS, total // N_ROWS, MESSAGE_BYTES)

    _, cache = model.run_with_cache(tokens, names_filter=NAME, stop_at_layer=0, return_type=None)
    expected = bench.baselines(BROAD).transformers.embed(tokens)
    agree.require({NAME: cache[NAME]}, {NAME: expected})
    del cache, expected

    def ours() -> Pace:
        # What `run_with_cache` does, with a look at the clock between messages.
        watch = Stopwatch()
        run = model.stream(tokens, NAME, stop_at_layer=0)._run
        for event in model._connection.run(run.request.message, None):
            before = run.assembly.received
            run.feed(event)
            watch.received(run.assembly.received - before)
        run.finish()
        return watch.stop()

    with bare_client() as bare:
        paces = measure.collect(
            {
                HOOKWIRE: ours,
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


ROWS: dict[str, Measure] = {f"stream/{BROAD.name}": stream}
