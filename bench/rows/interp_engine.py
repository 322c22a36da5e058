"""Residual streams of prompts, against interp-engine's own server on the same checkpoint.

Each side is asked as its users ask it: Hookwire through its Python client, interp-engine through
its HTTP API over connections that stay open. Both return torch tensors, which is timed too.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import hookwire
from torch import Tensor

from bench import interp_engine, measure
from bench.checkpoints import MID, MID_BF16, Checkpoint
from bench.figures import Row, Series, Unit
from bench.interp_engine import Client
from bench.measure import Effort
from bench.rows.kind import HOOKWIRE, Measure, Outputs, Side, compare, require_agreement, unrounded
from bench.workbench import Workbench

N_POS = (16, 128)
N_CLIENTS = 16
ONE_GOAL = 4.0
EVERY_GOAL = 3.0
CLIENTS_GOAL = 6.0


def residual_streams(checkpoint: Checkpoint, bench: Workbench) -> tuple[Row, ...]:
    """One layer's and every layer's, of short and long prompts, for one client and for many."""
    one, every = [checkpoint.n_layers // 2], list(range(checkpoint.n_layers))
    rows: list[Row] = []
    for layers in (one, every):
        for n_pos in N_POS:
            rows += one_client(checkpoint, bench, layers, n_pos)
            rows += many_clients(checkpoint, bench, layers, n_pos)
    return tuple(rows)


def one_client(
    checkpoint: Checkpoint, bench: Workbench, layers: Sequence[int], n_pos: int
) -> tuple[Row, ...]:
    """One prompt after another."""
    model = bench.daemon(checkpoint).model
    tokens = checkpoint.prompt(n_pos)
    with Client(bench.interp_engine(checkpoint)) as client:
        return compare(
            bench,
            f"interp-engine/{checkpoint.name}",
            f"{checkpoint.name}: {_what(layers)} of {n_pos} tokens",
            partial(_ours, model, tokens, layers),
            {interp_engine.NAME: partial(_theirs, client, checkpoint, tokens, layers)},
            {interp_engine.NAME: ONE_GOAL if len(layers) == 1 else EVERY_GOAL},
            exact=_exact(checkpoint, bench, tokens, layers),
        )


def many_clients(
    checkpoint: Checkpoint, bench: Workbench, layers: Sequence[int], n_pos: int
) -> tuple[Row, ...]:
    """Clients with a connection, a thread and a prompt each, and one run after another."""
    prompts = [checkpoint.prompt(n_pos, seed) for seed in range(N_CLIENTS)]
    address = bench.daemon(checkpoint).model.server.address
    peer = bench.interp_engine(checkpoint)
    seconds = 1.0 if bench.quick else 4.0
    rounds = 1 if bench.quick else 3
    with contextlib.ExitStack() as stack:
        ours, theirs = [], []
        for tokens in prompts:
            model = stack.enter_context(hookwire.connect(address, quiet=True))
            client = stack.enter_context(Client(peer))
            ours.append(partial(_ours, model, tokens, layers))
            theirs.append(partial(_theirs, client, checkpoint, tokens, layers))
        for tokens, our, their in zip(prompts, ours, theirs, strict=True):
            require_agreement(our(), [their()], _exact(checkpoint, bench, tokens, layers))
        rates = measure.collect(
            {
                HOOKWIRE: partial(rate, ours, seconds),
                interp_engine.NAME: partial(rate, theirs, seconds),
            },
            Effort(0, least=rounds, most=rounds, warm_up=0),
        )
    series = {
        label: Series(label, tuple(values), Unit.RUNS_PER_SECOND) for label, values in rates.items()
    }
    return (
        Row(
            f"interp-engine/{checkpoint.name}",
            f"{checkpoint.name}: {N_CLIENTS} clients, {_what(layers)} of {n_pos} tokens",
            series[HOOKWIRE],
            series[interp_engine.NAME],
            goal=CLIENTS_GOAL,
        ),
    )


def rate(
    clients: Sequence[Callable[[], object]],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Runs a second of clients side by side, each in a thread of its own.

    A client makes one run that is not counted, waits for the others, and makes runs until the
    seconds are over, at least one. The time ends with the last of all answers.

    Args:
        clients: each makes one run.
        seconds: to measure for.
        clock: seconds.
    """
    begun: list[float] = []
    together = threading.Barrier(len(clients), action=lambda: begun.append(clock()))

    def work(run: Callable[[], object]) -> tuple[int, float]:
        """How many runs, and when the last of them ended."""
        try:
            run()
            together.wait()
            count = 0
            while count == 0 or clock() < begun[0] + seconds:
                run()
                count += 1
            return count, clock()
        except BaseException:
            together.abort()
            raise

    with ThreadPoolExecutor(len(clients)) as pool:
        futures = [pool.submit(work, run) for run in clients]
    for error in (future.exception() for future in futures):
        # The others wait for the one that failed.
        if error is not None and not isinstance(error, threading.BrokenBarrierError):
            raise error
    done = [future.result() for future in futures]
    return sum(count for count, _ in done) / (max(ended for _, ended in done) - begun[0])


def _what(layers: Sequence[int]) -> str:
    return f"blocks.{layers[0] if len(layers) == 1 else '*'}.hook_resid_post"


def _name(layer: int) -> str:
    return f"blocks.{layer}.hook_resid_post"


def _ours(model: hookwire.RemoteModel, tokens: Tensor, layers: Sequence[int]) -> Outputs:
    _, cache = model.run_with_cache(tokens, names_filter=_what(layers), return_type=None)
    return {_name(layer): cache[_name(layer)][0] for layer in layers}


def _theirs(
    client: Client, checkpoint: Checkpoint, tokens: Tensor, layers: Sequence[int]
) -> Outputs:
    points = [interp_engine.point(layer) for layer in layers]
    captured = client.capture(tokens[0].tolist(), points, checkpoint.dtype)
    return {_name(layer): captured[interp_engine.point(layer)] for layer in layers}


def _exact(
    checkpoint: Checkpoint, bench: Workbench, tokens: Tensor, layers: Sequence[int]
) -> Side | None:
    """The same of a pass in float32, where sides round to bfloat16."""

    def reference() -> Outputs:
        outputs = bench.baselines(checkpoint).transformers.run(tokens, layers, "no")
        return {_name(layer): outputs[f"blocks.{layer}.hook_out"][0] for layer in layers}

    return unrounded(checkpoint, reference)


ROWS: dict[str, Measure] = {
    f"interp-engine/{checkpoint.name}": partial(residual_streams, checkpoint)
    for checkpoint in (MID, MID_BF16)
}
