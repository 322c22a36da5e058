"""Clients that a neighbour should not notice: one reads slowly, one uploads, one dies.

What they ask for takes next to nothing to compute: it is not their share of the device that is
measured, but what else they cost others. Each function goes on until it is told to stop.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
from hookwire._proto import run_pb2, service_pb2
from hookwire.wire import rpc

from bench.clients import Stop

MEGABYTE = 1e6


def read_slowly(stop: Stop, address: str, request: bytes, rate: float = MEGABYTE) -> None:
    """Reads a result, message by message, at `rate` bytes a second."""
    with grpc.insecure_channel(address, options=rpc.CHANNEL_OPTIONS) as channel:
        while not stop():
            run: Any = channel.unary_stream(rpc.RUN.path)
            call = run(request)
            for message in call:
                _wait(stop, len(message) / rate)
                if stop():
                    call.cancel()
                    break


def upload(
    stop: Stop, address: str, spec: bytes, values: int, size: int, rate: float = 100 * MEGABYTE
) -> None:
    """Uploads values of `size` bytes, at `rate` bytes a second, and breaks off before the last.

    So nothing is computed.

    Args:
        stop: says when to end.
        address: of the server.
        spec: of a run with as many uploads, encoded.
        values: how many the run wants.
        size: of each, in bytes.
        rate: bytes a second.
    """
    value = bytes(size)

    def messages() -> Iterator[bytes]:
        begin, sent = time.perf_counter(), 0
        yield service_pb2.InteractRequest(spec=run_pb2.RunSpec.FromString(spec)).SerializeToString()
        for number in range(values - 1):
            for chunks in rpc.pieces(number, value):
                yield service_pb2.InteractRequest(upload=chunks).SerializeToString()
                sent += len(chunks.chunks[0].data)
                _wait(stop, begin + sent / rate - time.perf_counter())
                if stop():
                    break
        sent_all.set()
        over.wait()

    with grpc.insecure_channel(address, options=rpc.CHANNEL_OPTIONS) as channel:
        while not stop():
            sent_all, over = threading.Event(), threading.Event()
            interact: Any = channel.stream_stream(rpc.INTERACT.path)
            call = interact(messages())
            call.add_callback(sent_all.set)
            sent_all.wait()
            if call.done() and not stop():
                raise RuntimeError(f"the server refuses uploads: {call.details()}")
            call.cancel()
            over.set()


def die(stop: Stop, address: str, request: bytes, interval: float = 0.25) -> None:
    """Begins a run every `interval` seconds, in a process that is killed at its first tensor."""
    while not stop():
        begin = time.perf_counter()
        child = os.fork()
        if child == 0:
            try:
                channel = grpc.insecure_channel(address, options=rpc.CHANNEL_OPTIONS)
                run: Any = channel.unary_stream(rpc.RUN.path)
                for message in run(request):
                    if service_pb2.RunResponse.FromString(message).HasField("tensors"):
                        os.kill(os.getpid(), signal.SIGKILL)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            raise RuntimeError("a client that should have been killed has ended by itself")
        _wait(stop, begin + interval - time.perf_counter())


def _wait(stop: Stop, seconds: float) -> None:
    deadline = time.perf_counter() + seconds
    while (left := deadline - time.perf_counter()) > 0 and not stop():
        time.sleep(min(left, 0.05))
