"""`hookwire bench`."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import click

import hookwire
from hookwire.cli import failure
from hookwire.cli.settings import Settings, subcommand
from hookwire.cli.show import progress
from hookwire.wire.blocking import Connection

_WARM_UP = 2


@dataclass(frozen=True)
class Figures:
    """One kind of call, measured one after another.

    Attributes:
        name: what was called.
        median_ms: of the whole call.
        p90_ms: nine of ten calls were faster.
        compute_ms: median time that the server computed; None where it does not.
        bytes: of one answer.
        runs: how many were measured.
    """

    name: str
    median_ms: float
    p90_ms: float
    compute_ms: float | None
    bytes: int
    runs: int


@dataclass(frozen=True)
class Load:
    """Several clients at once.

    Attributes:
        clients: how many, each with a connection of its own.
        runs: of all together.
        seconds: that they took.
        runs_per_second: of all together.
        tokens_per_second: of all together.
    """

    clients: int
    runs: int
    seconds: float
    runs_per_second: float
    tokens_per_second: float


class _Whole(click.IntRange):
    """A whole number within limits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; what is none is refused with the limits."""
        try:
            int(value)
        except ValueError:
            limits = f"of {self.min} or more" if self.max is None else f"{self.min} to {self.max}"
            self.fail(f"it must be a whole number {limits}, not {value!r}", param, ctx)
        return super().convert(value, param, ctx)


_EXAMPLES = """
hookwire bench --tokens 128
hookwire --server gpu.lab:7431 --json bench | jq .load.runs_per_second
"""


@subcommand("bench", examples=_EXAMPLES)
@click.option(
    "--tokens", type=_Whole(1), default=16, show_default=True, help="Tokens of each prompt."
)
@click.option(
    "--repeat",
    type=_Whole(1, 100_000),
    default=30,
    show_default=True,
    help="How often to make each call.",
)
@click.option(
    "--clients", type=_Whole(1, 256), default=4, show_default=True, help="Clients at the same time."
)
def command(settings: Settings, tokens: int, repeat: int, clients: int) -> None:
    """Measure this server from here.

    It measures the latency of a few kinds of runs, and how many runs a second several clients
    make together.

    The prompt's tokens are arbitrary. "compute" is the time that the server computes; the rest is
    spent on waiting, sending and unpacking.
    """
    output = settings.output()
    with settings.connect() as model:
        if tokens > model.cfg.n_ctx:
            failure.refuse(f"the model's context has {model.cfg.n_ctx} tokens, not {tokens}")
        prompt = [(7 * number + 3) % model.cfg.d_vocab for number in range(tokens)]
        figures = [
            _measure(name, call, repeat)
            for name, call in progress(_calls(settings, model, prompt), "measuring")
        ]
    load = _load(settings, prompt, clients, repeat)
    if output.json:
        output.document(
            {
                "server": asdict(model.server),
                "model": model.cfg.model_name,
                "tokens": tokens,
                "calls": [asdict(one) for one in figures],
                "load": asdict(load),
            }
        )
        return
    output.table(
        [f"{tokens} tokens", "median ms", "p90 ms", "compute ms", "bytes", "runs"],
        [
            [
                one.name,
                f"{one.median_ms:.2f}",
                f"{one.p90_ms:.2f}",
                "–" if one.compute_ms is None else f"{one.compute_ms:.2f}",
                f"{one.bytes:,}",
                str(one.runs),
            ]
            for one in figures
        ],
        right=(1, 2, 3, 4, 5),
    )
    output.line()
    output.line(
        f"{load.clients} clients at once, one hook each: {load.runs_per_second:.1f} runs/s, "
        f"{load.tokens_per_second:,.0f} tokens/s"
    )


Call = Callable[[], hookwire.Receipt | None]


def _calls(
    settings: Settings, model: hookwire.RemoteModel, prompt: list[int]
) -> list[tuple[str, Call]]:
    """What is measured: names and calls that give the receipt, where there is one."""
    connection = Connection(settings.server)

    def look_up() -> None:
        connection.get_model()

    def logits() -> hookwire.Receipt | None:
        model(prompt, logits_pos=-1)
        return model.last_receipt

    def every_layer() -> hookwire.Receipt | None:
        model.run_with_cache(prompt, names_filter="blocks.*.hook_out", return_type=None)
        return model.last_receipt

    return [
        ("look-up, nothing computed", look_up),
        ("logits of the last position", logits),
        (f"blocks.{_middle(model)}.hook_out", lambda: _one_hook(model, prompt)),
        ("blocks.*.hook_out", every_layer),
    ]


def _middle(model: hookwire.RemoteModel) -> int:
    return model.cfg.n_layers // 2


def _one_hook(model: hookwire.RemoteModel, prompt: list[int]) -> hookwire.Receipt | None:
    name = f"blocks.{_middle(model)}.hook_out"
    model.run_with_cache(prompt, names_filter=name, return_type=None)
    return model.last_receipt


def _measure(name: str, call: Call, repeat: int) -> Figures:
    whole, computed, sent = [], [], 0
    for number in range(_WARM_UP + repeat):
        start = time.perf_counter()
        receipt = call()
        elapsed = time.perf_counter() - start
        if number < _WARM_UP:
            continue
        whole.append(elapsed * 1000)
        if receipt is not None:
            computed.append(receipt.compute_us / 1000)
            sent = receipt.bytes
    return Figures(
        name,
        statistics.median(whole),
        sorted(whole)[min(len(whole) - 1, int(0.9 * len(whole)))],
        statistics.median(computed) if computed else None,
        sent,
        repeat,
    )


def _load(settings: Settings, prompt: list[int], clients: int, repeat: int) -> Load:
    """Runs/s of several clients that each read one hook point, `repeat` times."""
    failures: list[BaseException] = []
    ready = threading.Barrier(clients + 1)

    def client() -> None:
        try:
            with settings.connect() as model:
                _one_hook(model, prompt)
                ready.wait()
                for _ in range(repeat):
                    _one_hook(model, prompt)
        except BaseException as error:
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    with suppress(threading.BrokenBarrierError):
        ready.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    for error in failures:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    runs = clients * repeat
    return Load(clients, runs, seconds, runs / seconds, runs * len(prompt) / seconds)
