"""A gRPC stream with nothing behind it: what the transport itself gives a Python client.

`hookwire-bare-stream` sends messages that look like Hookwire's, of the same size, from memory that
is there already. Two clients read them: one drops what it reads, the other does what any client has
to that returns arrays: it takes the messages apart and puts the bytes together.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from hookwire.wire import decode as wire
from hookwire.wire import rpc

from bench.pace import Pace, Stopwatch
from bench.process import BINARIES, running

METHOD = "/hookwire.bench.Bare/Stream"


@dataclass(frozen=True)
class Load:
    """What to send.

    Attributes:
        tensors: how many.
        tensor_bytes: of each.
        message_bytes: of each message but a tensor's last, headers included.
    """

    tensors: int
    tensor_bytes: int
    message_bytes: int

    @property
    def total(self) -> int:
        """Of all tensors."""
        return self.tensors * self.tensor_bytes

    def encode(self) -> bytes:
        """The request."""
        return struct.pack("<QQQ", self.tensors, self.tensor_bytes, self.message_bytes)


class BareClient:
    """Reads from `hookwire-bare-stream`, over a channel with the options of Hookwire's client."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def _call(self, load: Load, decode: Callable[[bytes], Any]) -> Iterator[Any]:
        method: Any = self._channel.unary_stream(METHOD, response_deserializer=decode)
        answer: Iterator[Any] = method(load.encode())
        return answer

    def drop(self, load: Load) -> Pace:
        """Reads and drops."""
        watch = Stopwatch()
        for size in self._call(load, len):
            watch.received(size)
        pace = watch.stop()
        if pace.bytes < load.total:  # it counts headers too
            raise RuntimeError(f"{pace.bytes} of {load.total} bytes came")
        return pace

    def assemble(self, load: Load) -> Pace:
        """Reads, takes apart with Hookwire's decoder, and fills one array with all tensors."""
        watch = Stopwatch()
        # As `run_with_cache` returns a hook point's tensors, [batch, …]. Arrays of a tensor each
        # would lie in memory that the allocator keeps from call to call, which spares them the
        # system's zeroing of new pages.
        result = np.empty((load.tensors, load.tensor_bytes), np.uint8)
        rows = [row.data for row in result]
        for chunks in self._call(load, wire.decode_event):
            for chunk in chunks:
                size = len(chunk.data)
                rows[chunk.tensor][chunk.offset : chunk.offset + size] = chunk.data
                watch.received(size)
        pace = watch.stop()
        if pace.bytes != load.total:
            raise RuntimeError(f"{pace.bytes} of {load.total} bytes came")
        return pace


@contextmanager
def bare_client() -> Iterator[BareClient]:
    """Starts the server, and connects to it."""
    with (
        running([BINARIES / "hookwire-bare-stream"]) as server,
        grpc.insecure_channel(server.address, options=rpc.CHANNEL_OPTIONS) as channel,
    ):
        yield BareClient(channel)
