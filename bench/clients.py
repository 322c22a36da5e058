"""Clients that ask again as soon as they have their answer, in processes of their own.

Requests are encoded beforehand and answers are not decoded, so that a single process can keep a
server busy. Each client has a connection of its own: to a server, clients are connections.

The processes come from a fork server, which has imported this module and nothing of the other side.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from hookwire._proto import service_pb2
from hookwire.wire import rpc

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__, "bench.nuisance"])
_OPTIONS: list[tuple[str, Any]] = [
    *(option for option in rpc.CHANNEL_OPTIONS if option[0].startswith("grpc.")),
    # Otherwise all channels of a process share one connection.
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclass(frozen=True)
class Target:
    """A call that clients make.

    Attributes:
        address: of the server.
        method: its path.
        streams: whether it answers with a stream.
        requests: encoded; clients take turns at them.
        is_hookwire: whether the last message of an answer has a receipt.
    """

    address: str
    method: str
    streams: bool
    requests: tuple[bytes, ...]
    is_hookwire: bool = False


@dataclass
class Outcome:
    """What clients saw in a stretch of time.

    Attributes:
        seconds: how long it was.
        latencies: of the runs that ended in it, in seconds.
        batch_runs: how many runs shared a pass with each, itself included.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    batch_runs: list[int] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Runs a second."""
        return len(self.latencies) / self.seconds


@dataclass(frozen=True)
class Clients:
    """Some clients with the same target.

    Attributes:
        target: what they ask.
        count: how many.
        depth: runs that each has at once.
    """

    target: Target
    count: int = 1
    depth: int = 1


def drive(groups: Sequence[Clients], seconds: float, least: int = 1) -> list[Outcome]:
    """Keeps clients busy, and says what each group saw.

    The first answer of each client is not counted.

    Args:
        groups: whose runs go side by side.
        seconds: to measure for, and until each client of the first group has another answer.
        least: answers of each of these, however long it takes.
    """
    return asyncio.run(_drive(groups, seconds, least))


async def _drive(groups: Sequence[Clients], seconds: float, least: int) -> list[Outcome]:
    outcomes = [Outcome() for _ in groups]
    async with contextlib.AsyncExitStack() as stack:
        lanes = []
        for group, outcome in zip(groups, outcomes, strict=True):
            for number in range(group.count):
                channel = await stack.enter_async_context(
                    grpc.aio.insecure_channel(group.target.address, options=_OPTIONS)
                )
                lanes += [_Lane(group.target, channel, number, outcome) for _ in range(group.depth)]
        tasks = [asyncio.create_task(lane.run()) for lane in lanes]
        first = lanes[: groups[0].count * groups[0].depth]
        try:
            await _until(tasks, lambda: all(lane.answers for lane in lanes))
            begin = time.perf_counter()
            for lane in lanes:
                lane.counts, lane.answers = True, 0
            await _until(tasks, lambda: time.perf_counter() - begin >= seconds)
            # Answers of a batch come together: begin and end lie just behind such a time.
            rounds = max(least, min(lane.answers for lane in first) + 1)
            await _until(tasks, lambda: all(lane.answers >= rounds for lane in first))
            for lane in lanes:
                lane.counts = False
            for outcome in outcomes:
                outcome.seconds = time.perf_counter() - begin
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return outcomes


async def _until(tasks: Sequence[asyncio.Task[None]], reached: Callable[[], bool]) -> None:
    while not reached():
        for task in tasks:
            if task.done():
                task.result()  # raises what went wrong
        await asyncio.sleep(0.002)


class _Lane:
    """One run after another."""

    def __init__(
        self, target: Target, channel: grpc.aio.Channel, number: int, outcome: Outcome
    ) -> None:
        self._target = target
        make = channel.unary_stream if target.streams else channel.unary_unary
        self._method: Any = make(target.method)
        self._number, self._outcome = number, outcome
        self.answers = 0
        self.counts = False

    async def run(self) -> None:
        requests = self._target.requests
        while True:
            request = requests[(self._number + self.answers) % len(requests)]
            begin = time.perf_counter()
            last = await self._ask(request)
            taken = time.perf_counter() - begin
            self.answers += 1
            if not self.counts:
                continue
            self._outcome.latencies.append(taken)
            if self._target.is_hookwire:
                receipt = service_pb2.RunResponse.FromString(last).receipt
                self._outcome.batch_runs.append(receipt.batch_runs)

    async def _ask(self, request: bytes) -> bytes:
        """The last message of the answer."""
        last = b""
        if not self._target.streams:
            last = await self._method(request)
        else:
            async for message in self._method(request):
                last = message
        return last


Stop = Callable[[], bool]
"""Whether to end."""


class Worker:
    """A process that calls functions, one after another. Use it in a `with` block."""

    def __init__(self) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_work, args=(theirs,))
        self._process.start()
        theirs.close()

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """What the function returns there.

        Raises:
            RuntimeError: it raises.
        """
        self._pipe.send((function, arguments, False))
        return self._result()  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def during(self, function: Callable[..., None], *arguments: Any) -> Iterator[None]:
        """Has a function of `(stop, *arguments)` go on there until the end of a `with` block."""
        self._pipe.send((function, arguments, True))
        try:
            yield
        finally:
            self._pipe.send(None)
            self._result()

    def _result(self) -> Any:
        error, result = self._pipe.recv()
        if error:
            raise RuntimeError(error)
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join()


def _work(pipe: Connection) -> None:
    with contextlib.suppress(EOFError):
        while True:
            function, arguments, goes_on = pipe.recv()
            error, result = "", None
            try:
                result = function(*((pipe.poll,) if goes_on else ()), *arguments)
            except Exception:
                error = traceback.format_exc()
            if goes_on:
                pipe.recv()
            pipe.send((error, result))
