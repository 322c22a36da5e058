"""The blocking connection to a server."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import grpc

from hookwire import forks
from hookwire._proto import service_pb2
from hookwire.ask.request import Request
from hookwire.facts import characters
from hookwire.wire import parameters, rpc
from hookwire.wire.decode import Event
from hookwire.wire.peer import Call, Peer
from hookwire.wire.shared_memory import Segment, SharedMemory


class Connection:
    """One gRPC channel and the calls on it, with typed errors.

    The channel is made when it is first needed, and made anew in a process that was forked. What
    takes a `load_id` states the load that the caller expects; empty: whatever the server holds.
    Safe to use from several threads.

    Attributes:
        peer: the server.
        shared_memory: what the server shares with this client.
    """

    # The hook points are asked for when they are needed.
    hooks_at_once = False

    def __init__(self, address: str) -> None:
        self.address = rpc.check_address(address)
        self.peer = Peer(address)
        self.shared_memory = SharedMemory()
        self._calls: rpc.Calls | None = None
        self._lock = threading.Lock()
        forks.register(self)

    def _after_fork(self) -> None:
        if self._calls is not None:
            forks.keep(self._calls)
        self._calls = None
        self._lock = threading.Lock()
        self.shared_memory.forget()

    def _open(self) -> rpc.Calls:
        """The calls on this process's channel."""
        calls = self._calls
        if calls is not None and not self.peer.closed:
            return calls
        with self._lock:
            self.peer.check_open()
            if self._calls is None:
                self._calls = rpc.Calls(
                    grpc.insecure_channel(self.address, options=rpc.CHANNEL_OPTIONS)
                )
            return self._calls

    def blocking(self) -> Connection:
        """Itself."""
        return self

    def reopen(self) -> None:
        """Takes a new channel for what comes now, after `close` too. Runs under way go on."""
        with self._lock:
            self._calls = None
            self.peer.closed = False

    def get_model(
        self, timeout: float | None = None, *, load_id: str = ""
    ) -> service_pb2.GetModelResponse:
        """The model and the server.

        Raises:
            LoadChangedError: the server holds another load than `load_id`.
        """
        answer: service_pb2.GetModelResponse = self._unary(
            lambda calls: calls.get_model,
            service_pb2.GetModelRequest(),
            Call("asking the server what it holds", timeout),
        )
        self.peer.check_load(answer, load_id)
        self.peer.remember(answer)
        return answer

    def list_hooks(self, load_id: str = "") -> service_pb2.ListHooksResponse:
        """All hook points."""
        response: service_pb2.ListHooksResponse = self._unary(
            lambda calls: calls.list_hooks,
            service_pb2.ListHooksRequest(load_id=load_id),
            Call("asking for the hook points"),
        )
        return response

    def get_tokenizer(self, load_id: str = "") -> dict[str, bytes]:
        """The checkpoint's tokenizer files."""
        request = service_pb2.GetTokenizerRequest(load_id=load_id)
        return rpc.join_files(
            self._stream(
                lambda calls: calls.get_tokenizer, request, Call("asking for the tokenizer")
            )
        )

    def get_weight(
        self, name: str, rows: Sequence[int] | None, load_id: str = ""
    ) -> parameters.Fetched:
        """A parameter, or some of its rows."""
        characters.check(name, "the parameter's name")
        request = parameters.request(name, rows, load_id)
        call = Call(f"asking for the parameter {name}")
        return parameters.join(self._stream(lambda calls: calls.get_weight, request, call))

    def plan(
        self, request: service_pb2.PlanRequest, timeout: float | None
    ) -> service_pb2.PlanResponse:
        """A dry run."""
        response: service_pb2.PlanResponse = self._unary(
            lambda calls: calls.plan, request, Call("the plan", timeout)
        )
        return response

    def run(
        self,
        request: service_pb2.RunRequest,
        timeout: float | None,
        stage: Callable[[], str] | None = None,
    ) -> Generator[Event, None, None]:
        """The events of a run. Closing the iterator cancels it.

        Args:
            request: the run.
            timeout: seconds for the whole run; None: no limit.
            stage: as in `Call`.
        """
        call = Call("the run", timeout, stage)
        self.peer.check_open()
        segment = self._segment(request.spec.load_id, call)
        with self.shared_memory.lend(segment, request.spec):
            events = self._stream(lambda calls: calls.run, request, call)
            try:
                for event in events:
                    yield segment.resolve(event) if segment else event
            finally:
                events.close()

    def _segment(self, load_id: str, call: Call) -> Segment | None:
        """Shared memory for one run; None where there is none."""
        memory = self.shared_memory
        segment = memory.idle() or memory.connect()
        if segment is None and memory.lost:
            memory.offer(self.get_model(call.timeout, load_id=load_id).server)
            segment = memory.connect()
        return segment

    def interact(
        self, made: Request, timeout: float | None, stage: Callable[[], str] | None = None
    ) -> Interaction:
        """A run whose functions run here. Closing its iterator cancels it."""
        return Interaction(self, made, Call("the run", timeout, stage))

    def _unary(self, method: Callable[[rpc.Calls], Any], request: Any, call: Call) -> Any:
        started = method(self._open())
        try:
            return started(request, timeout=call.timeout)
        except grpc.RpcError as error:
            raise self.peer.error(error, call) from None
        except ValueError:
            self.peer.check_open()  # it was closed a moment ago
            raise

    def _stream(
        self, method: Callable[[rpc.Calls], Any], request: Any, call: Call
    ) -> Generator[Any, None, None]:
        """The answers to a request, or to an iterator of them. Closing the iterator cancels."""
        started, process = self._start(method, request, call), os.getpid()
        try:
            yield from started
        except grpc.RpcError as error:
            raise self.peer.error(error, call) from None
        finally:
            if os.getpid() == process:
                started.cancel()
            else:
                forks.keep(started)

    def _start(self, method: Callable[[rpc.Calls], Any], request: Any, call: Call) -> Any:
        chosen = method(self._open())
        try:
            return chosen(request, timeout=call.timeout)
        except ValueError:
            self.peer.check_open()  # it was closed a moment ago
            raise

    def close(self) -> None:
        """Ends the connection, and every run on it. Calls that come later raise ClosedError."""
        with self._lock:
            self.peer.closed = True
            calls, self._calls = self._calls, None
        if calls is not None:
            calls.channel.close()
        self.shared_memory.close()


class Interaction:
    """The events of an interactive run, and what is sent to it meanwhile."""

    def __init__(self, connection: Connection, made: Request, call: Call) -> None:
        self._outgoing: queue.SimpleQueue[service_pb2.InteractRequest | None] = queue.SimpleQueue()
        for message in rpc.opening(made.message.spec, made.uploads):
            self._outgoing.put(message)
        requests = iter(self._outgoing.get, None)
        self._events: Iterator[Event] = connection._stream(
            lambda calls: calls.interact, requests, call
        )

    def send(self, message: service_pb2.InteractRequest) -> None:
        """Sends one message; does not wait."""
        self._outgoing.put(message)

    def events(self) -> Generator[Event, None, None]:
        """The events. Closing the iterator cancels the run."""
        try:
            yield from self._events
        finally:
            # Ends the thread that sends.
            self._outgoing.put(None)
