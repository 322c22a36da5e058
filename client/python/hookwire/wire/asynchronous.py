"""The asynchronous connection to a server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import grpc
from grpc.aio import UsageError

from hookwire import errors, forks
from hookwire._proto import service_pb2
from hookwire.ask.request import Request
from hookwire.wire import rpc
from hookwire.wire.blocking import Connection
from hookwire.wire.decode import Event
from hookwire.wire.peer import Call, Peer
from hookwire.wire.shared_memory import Segment, SharedMemory


class _Channels:
    """The asynchronous channels of this process.

    Attributes:
        open: how many have not been closed.
        lost: they were the parent's: the thread that all channels share is not in this process.
    """

    def __init__(self) -> None:
        self.open = 0
        self.lost = False
        forks.register(self)

    def _after_fork(self) -> None:
        self.lost = self.open > 0


_channels = _Channels()


class AsyncConnection:
    """One gRPC channel and the calls on it, with typed errors.

    Belongs to one event loop at a time: in another one it takes a channel of its own. gRPC's
    asynchronous client does not survive a fork; in the child, calls raise a ForkedError.
    """

    # What users ask for without `await` is asked for when the model connects.
    hooks_at_once = True

    def __init__(self, address: str) -> None:
        self.address = rpc.check_address(address)
        self._blocking: Connection | None = None
        self.peer = Peer(address)
        self.shared_memory = SharedMemory()
        self._calls: rpc.Calls | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        forks.register(self)

    def _after_fork(self) -> None:
        if self._calls is not None:
            forks.keep(self._calls)
        self.shared_memory.forget()

    def _open(self) -> rpc.Calls:
        """The calls on this event loop's channel."""
        self.peer.check_open()
        if _channels.lost:
            raise errors.ForkedError(
                "this process was forked from one with an open asynchronous model, and gRPC's "
                "asynchronous client does not survive that: hand the worker a blocking model "
                '(hookwire.connect), or start it with multiprocessing\'s "spawn"'
            )
        loop = asyncio.get_running_loop()
        if self._calls is None or self._loop is not loop:
            options = [item for item in rpc.CHANNEL_OPTIONS if item[0].startswith("grpc.")]
            channel = grpc.aio.insecure_channel(self.address, options=options)
            self._calls, self._loop = rpc.Calls(channel), loop
            _channels.open += 1
        return self._calls

    def blocking(self) -> Connection:
        """A blocking connection to the same server, for what cannot be awaited."""
        self.peer.check_open()
        if self._blocking is None:
            self._blocking = Connection(self.address)
            self._blocking.peer = self.peer
        return self._blocking

    def reopen(self) -> None:
        """Takes a new channel for what comes now, after `close` too. Runs under way go on."""
        self._calls = self._blocking = None
        self.peer.closed = False

    async def get_model(
        self, seconds: float | None, *, load_id: str = ""
    ) -> service_pb2.GetModelResponse:
        """The model and the server.

        Raises:
            LoadChangedError: the server holds another load than `load_id`.
        """
        call = Call("asking the server what it holds", seconds)
        with self._errors(call):
            answer: service_pb2.GetModelResponse = await self._open().get_model(
                service_pb2.GetModelRequest(), timeout=call.timeout
            )
        self.peer.check_load(answer, load_id)
        self.peer.remember(answer)
        return answer

    async def list_hooks(self, load_id: str = "") -> service_pb2.ListHooksResponse:
        """All hook points."""
        with self._errors(Call("asking for the hook points")):
            response: service_pb2.ListHooksResponse = await self._open().list_hooks(
                service_pb2.ListHooksRequest(load_id=load_id)
            )
        return response

    async def get_tokenizer(self, load_id: str = "") -> dict[str, bytes]:
        """The checkpoint's tokenizer files."""
        with self._errors(Call("asking for the tokenizer")):
            call = self._open().get_tokenizer(service_pb2.GetTokenizerRequest(load_id=load_id))
            return rpc.join_files([chunk async for chunk in call])

    async def plan(
        self, request: service_pb2.PlanRequest, seconds: float | None
    ) -> service_pb2.PlanResponse:
        """A dry run."""
        call = Call("the plan", seconds)
        with self._errors(call):
            response: service_pb2.PlanResponse = await self._open().plan(
                request, timeout=call.timeout
            )
        return response

    async def run(
        self,
        request: service_pb2.RunRequest,
        timeout: float | None,
        stage: Callable[[], str] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """The events of a run. Closing the iterator cancels it.

        Args:
            request: the run.
            timeout: seconds for the whole run; None: no limit.
            stage: as in `Call`.
        """
        about = Call("the run", timeout, stage)
        calls = self._open()
        segment = await self._segment(request.spec.load_id, about)
        with self.shared_memory.lend(segment, request.spec):
            with self._errors(about):
                call = calls.run(request, timeout=about.timeout)
            try:
                answers = call.__aiter__()
                while (event := await self._next(answers, about)) is not None:
                    yield segment.resolve(event) if segment else event
            finally:
                call.cancel()

    def interact(
        self, made: Request, timeout: float | None, stage: Callable[[], str] | None = None
    ) -> AsyncInteraction:
        """A run whose functions run here. Closing its iterator cancels it."""
        return AsyncInteraction(self, made, Call("the run", timeout, stage))

    async def _next(self, answers: Any, about: Call) -> Any:
        """The next message of a call that streams; None after the last."""
        with self._errors(about):
            return await anext(answers, None)

    async def _segment(self, load_id: str, call: Call) -> Segment | None:
        """Shared memory for one run; None where there is none."""
        memory = self.shared_memory
        segment = memory.idle()
        if segment is None and memory.offered:
            segment = await asyncio.to_thread(memory.connect)
        if segment is None and memory.lost:
            memory.offer((await self.get_model(call.timeout, load_id=load_id)).server)
            segment = await asyncio.to_thread(memory.connect)
        return segment

    @contextlib.contextmanager
    def _errors(self, call: Call) -> Iterator[None]:
        """Turns what gRPC raises into typed errors."""
        try:
            yield
        except grpc.RpcError as error:
            raise self.peer.error(error, call) from None
        except UsageError:
            self.peer.check_open()  # it was closed a moment ago
            raise
        except asyncio.CancelledError:
            # Of a call that `close` has ended; or of the user's task, to whom it must go on.
            if self.peer.closed and not _is_being_cancelled():
                raise self.peer.ended_by_close(call) from None
            raise

    async def close(self) -> None:
        """Ends the connection, and every run on it. Calls that come later raise ClosedError."""
        self.peer.closed = True
        calls, self._calls = self._calls, None
        if calls is not None and self._loop is asyncio.get_running_loop():
            await calls.channel.close()
            _channels.open -= 1
        self.shared_memory.close()
        if self._blocking is not None:
            self._blocking.close()


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    # Python 3.10 cannot tell; its users are better off with an error than with a silent end.
    return task is not None and hasattr(task, "cancelling") and bool(task.cancelling())


async def _why(call: Any) -> grpc.aio.AioRpcError:
    """The error with which a call has ended."""
    code, details = await call.code(), await call.details()
    return grpc.aio.AioRpcError(
        code, await call.initial_metadata(), await call.trailing_metadata(), details
    )


class AsyncInteraction:
    """The events of an interactive run, and what is sent to it meanwhile."""

    def __init__(self, connection: AsyncConnection, made: Request, about: Call) -> None:
        self._connection = connection
        self._made = made
        self._about = about
        self._call: Any = None

    async def send(self, message: service_pb2.InteractRequest) -> None:
        """Sends one message."""
        try:
            with self._connection._errors(self._about):
                await self._call.write(message)
        except asyncio.InvalidStateError:
            # The call has ended: its status says why.
            raise self._connection.peer.error(await _why(self._call), self._about) from None

    async def events(self) -> AsyncGenerator[Event, None]:
        """The events. Closing the iterator cancels the run."""
        connection, about = self._connection, self._about
        calls = connection._open()
        with connection._errors(about):
            call = self._call = calls.interact(timeout=about.timeout)
        try:
            for message in rpc.opening(self._made.message.spec, self._made.uploads):
                await self.send(message)
            answers = call.__aiter__()
            while (event := await connection._next(answers, about)) is not None:
                yield event
        finally:
            call.cancel()
