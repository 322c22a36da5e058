"""Clients that misbehave, each a process of its own.

`Client` starts one and listens to it. What it does there is a `Script`: one run, and where and how
to leave it; or a flood of runs. They speak the protocol with gRPC alone: what `hookwire` would put
right stays wrong.

The processes come from one that has imported everything and opened nothing (a fork server), so that
starting one takes milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from hookwire._proto import run_pb2, service_pb2
from hookwire.wire import rpc
from hookwire.wire.shared_memory import Segment

if TYPE_CHECKING:
    from typing_extensions import Self

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])
# For what a client is waited for: it has failed by then.
_PATIENCE = 60.0
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    # No more than this is on its way to a reader that reads nothing.
    ("grpc.http2.lookahead_bytes", 64 << 10),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
]
_SERVICE = "/hookwire.v1.ActivationService/"


@dataclass(frozen=True)
class Script:
    """One run, and how it is left.

    Attributes:
        spec: a RunSpec, encoded.
        interacts: goes through Interact; what a callback shows is answered with "keep".
        uploads: values to send, by number.
        at: the event at which to leave: "accepted", "progress", "tensors", "callback", "upload" (in
            the middle of the values), or the number of a message.
        leave: "cancel" (the call), "close" (the channel), "kill" (this process), or "hold": go on
            when told to, or when the call has ended.
        deadline: of the call, in seconds.
        rate: bytes a second to read.
        shares: the result comes through memory that the daemon shares.
    """

    spec: bytes
    interacts: bool = False
    uploads: tuple[bytes, ...] = ()
    at: str | int | None = None
    leave: str = "hold"
    deadline: float | None = None
    rate: float | None = None
    shares: bool = False


class Client:
    """A client in a process of its own. Use it in a `with` block, which kills what is left.

    What it tells is a tuple that begins with a kind: ("accepted", run id, runs ahead),
    ("progress", layers), ("tensors", bytes so far), ("callback",), ("upload",), ("answer", digest
    of all tensors, runs of its batch), and at the end ("ended", gRPC code, reason).

    Attributes:
        process: it.
        told: what it has told, as far as it was waited for.
    """

    def __init__(self, body: Callable[..., None], *arguments: Any) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=body, args=(theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()
        self.told: list[tuple[Any, ...]] = []

    @classmethod
    def runs(cls, address: str, script: Script) -> Client:
        """One that has one run."""
        return cls(_run, address, script)

    @classmethod
    def floods(
        cls, address: str, script: Script, depth: int, again: bool = True, channels: int = 1
    ) -> Client:
        """One that has `depth` runs at once, each as in `script` but never left.

        They take turns on so many `channels`, which have a connection each.

        It tells ("flooding",) once so many have been accepted, and ("ended", code, reason) of each.
        With `again`, each that ends well is followed by the next until the client is told to go on.
        """
        return cls(_flood, address, script, depth, again, channels)

    def wait_for(self, kind: str) -> tuple[Any, ...]:
        """The next thing of this kind that it tells.

        Raises:
            AssertionError: it ends without, or nothing comes.
        """
        while True:
            assert self._pipe.poll(_PATIENCE), f"no {kind!r} came after {self.told[-3:]}"
            try:
                told: tuple[Any, ...] = self._pipe.recv()
            except EOFError:
                raise AssertionError(f"ended without {kind!r} after {self.told[-3:]}") from None
            self.told.append(told)
            if told[0] == kind:
                return told

    def go_on(self) -> None:
        """Ends a "hold", or a flood."""
        with contextlib.suppress(BrokenPipeError):  # it has ended
            self._pipe.send(None)

    def freeze(self) -> None:
        """Stops its process, with all its threads."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def finish(self) -> list[tuple[Any, ...]]:
        """Waits until its process has ended; returns all that it has told."""
        try:
            while self._pipe.poll(_PATIENCE):
                self.told.append(self._pipe.recv())
        except (EOFError, ConnectionResetError):
            pass
        self.process.join(_PATIENCE)
        assert self.process.exitcode is not None, "it does not end"
        return self.told

    @property
    def accepted(self) -> list[str]:
        """The ids of its runs, as far as it was waited for."""
        return [told[1] for told in self.told if told[0] == "accepted"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.finish()


def _reason(error: grpc.RpcError) -> str:
    """The reason in the details of an error; empty where it has none."""
    trailing = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailing.get("grpc-status-details-bin", b""))
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return ""


class _Run:
    """One run in its process."""

    def __init__(self, pipe: Connection, address: str, script: Script) -> None:
        self._pipe, self._script = pipe, script
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._outgoing: queue.SimpleQueue[service_pb2.InteractRequest | None] = queue.SimpleQueue()
        self._call: Any = None
        self._called, self._ended = threading.Event(), threading.Event()
        self._seen: set[str | int] = set()
        self._batch_runs = 0
        # Of each tensor, whose pieces come in order, while others come between them.
        self._digests: dict[int, hashlib._Hash] = {}
        # Of callbacks: the bytes that are still to come, by their first tensor.
        self._callbacks: dict[int, int] = {}

    def __call__(self) -> None:
        spec, deadline = self._script.spec, self._script.deadline
        decode = service_pb2.RunResponse.FromString
        if self._script.interacts:
            interact = self._channel.stream_stream(
                _SERVICE + "Interact",
                request_serializer=service_pb2.InteractRequest.SerializeToString,
                response_deserializer=decode,
            )
            self._call = interact(self._requests(), timeout=deadline)
        else:
            run = self._channel.unary_stream(_SERVICE + "Run", response_deserializer=decode)
            request = service_pb2.RunRequest(spec=run_pb2.RunSpec.FromString(spec))
            if self._script.shares:
                self._segment = self._share()
                request.spec.shared_memory_token = self._segment.token
            self._call = run(request.SerializeToString(), timeout=deadline)
        self._call.add_callback(self._ended.set)
        self._called.set()
        try:
            self._read()
            digests = (self._digests[tensor].digest() for tensor in sorted(self._digests))
            digest = hashlib.sha256(b"".join(digests)).hexdigest()
            self._pipe.send(("answer", digest, self._batch_runs))
            self._pipe.send(("ended", "OK", ""))
        except grpc.RpcError as error:
            self._pipe.send(("ended", error.code().name, _reason(error)))

    def _share(self) -> Segment:
        get_model = rpc.GET_MODEL.bind(self._channel)
        server = get_model(service_pb2.GetModelRequest()).server
        return Segment(server.shared_memory_socket)

    def _requests(self) -> Iterator[service_pb2.InteractRequest]:
        yield service_pb2.InteractRequest(spec=run_pb2.RunSpec.FromString(self._script.spec))
        pieces = itertools.chain(*(rpc.pieces(i, u) for i, u in enumerate(self._script.uploads)))
        for number, chunks in enumerate(pieces):
            if number == len(self._script.uploads) // 2:
                self._called.wait()
                self._reached("upload")
            yield service_pb2.InteractRequest(upload=chunks)
        yield from iter(self._outgoing.get, None)

    def _read(self) -> None:
        received, begun = 0, time.monotonic()
        for number, event in enumerate(self._call):
            self._reached(number)
            kind = event.WhichOneof("event")
            if kind == "accepted":
                self._note_callbacks(event.accepted.plan)
                self._reached(kind, event.accepted.run_id, event.accepted.queue_position)
            elif kind == "progress":
                self._reached(kind, event.progress.layers_done)
            elif kind == "tensors":
                chunks = event.tensors.chunks
                received += sum(len(chunk.data) + chunk.shared_bytes for chunk in chunks)
                self._reached(kind, received)
                for chunk in chunks:
                    self._digests.setdefault(chunk.tensor, hashlib.sha256()).update(chunk.data)
                    self._answer(chunk)
            elif kind == "receipt":
                self._batch_runs = event.receipt.batch_runs
            if self._script.rate:
                time.sleep(max(0.0, begun + received / self._script.rate - time.monotonic()))

    def _note_callbacks(self, plan: run_pb2.Plan) -> None:
        number = 0
        for group in plan.groups:
            for tensor in group.tensors:
                if group.source == run_pb2.TensorGroup.SOURCE_CALLBACK:
                    elements = 1
                    for size in tensor.shape:
                        elements *= size
                    self._callbacks[number] = 4 * elements  # the toy's float32
                number += 1

    def _answer(self, chunk: service_pb2.TensorChunk) -> None:
        if chunk.tensor not in self._callbacks:
            return
        self._callbacks[chunk.tensor] -= len(chunk.data)
        if not self._callbacks[chunk.tensor]:
            self._reached("callback")
            keep = service_pb2.Keep(tensors=[chunk.tensor])
            self._outgoing.put(service_pb2.InteractRequest(keep=keep))

    def _reached(self, event: str | int, *details: Any) -> None:
        """Tells of the first event of a kind, and leaves where the script says so."""
        if event in self._seen:
            return
        self._seen.add(event)
        if isinstance(event, str):
            self._pipe.send((event, *details))
        if event != self._script.at:
            return
        match self._script.leave:
            case "cancel":
                self._call.cancel()
            case "close":
                self._channel.close()
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hold":
                while not self._ended.is_set() and not self._pipe.poll(0.01):
                    pass


def _run(pipe: Connection, address: str, script: Script) -> None:
    _Run(pipe, address, script)()


def _flood(
    pipe: Connection, address: str, script: Script, depth: int, again: bool, channels: int
) -> None:
    asyncio.run(_keep_going(pipe, address, script, depth, again, channels))


async def _keep_going(
    pipe: Connection, address: str, script: Script, depth: int, again: bool, channels: int
) -> None:
    decode = service_pb2.RunResponse.FromString
    spec = run_pb2.RunSpec.FromString(script.spec)
    told = asyncio.Event()
    accepted = 0

    async with contextlib.AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address, options=_OPTIONS))
            for _ in range(channels)
        ]
        runs = [c.unary_stream(_SERVICE + "Run", response_deserializer=decode) for c in opened]
        interacts = [
            c.stream_stream(_SERVICE + "Interact", response_deserializer=decode) for c in opened
        ]
        request = service_pb2.RunRequest(spec=spec).SerializeToString()
        opening = service_pb2.InteractRequest(spec=spec).SerializeToString()

        async def one(number: int) -> bool:
            nonlocal accepted
            channel = number % channels
            call = interacts[channel]() if script.interacts else runs[channel](request)
            try:
                if script.interacts:
                    await call.write(opening)
                async for event in call:
                    if event.HasField("accepted"):
                        accepted += 1
                        pipe.send(("accepted", event.accepted.run_id, accepted))
                        if accepted == depth:
                            pipe.send(("flooding",))
            except grpc.aio.AioRpcError as error:
                pipe.send(("ended", error.code().name, _reason(error)))
                return False
            pipe.send(("ended", "OK", ""))
            return True

        async def keep(number: int) -> None:
            while await one(number) and again and not told.is_set():
                pass

        async def listen() -> None:
            await asyncio.to_thread(pipe.recv)
            told.set()

        await asyncio.gather(
            *(keep(number) for number in range(depth)), *([listen()] if again else [])
        )
