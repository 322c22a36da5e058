"""Calls that a client of gRPC cannot make: half a request, or none, and an unread answer."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.settings

SERVICE = "/hookwire.v1.ActivationService/"


@dataclass
class HalfCall:
    """A call of a `HalfClient`.

    Attributes:
        unsent: what is still to be sent.
        sent: bytes that were sent.
        status: gRPC's number, when the call has ended; -1 if the server reset the stream.
        ended: set when it has.
    """

    unsent: bytes
    sent: int = 0
    status: int | None = None
    ended: threading.Event = field(default_factory=threading.Event)


class HalfClient:
    """One HTTP/2 connection, on which calls send as much as is asked for and never finish sending.

    Args:
        address: of the server, with a port.
        window: how many bytes of each call's answer the server may send.
    """

    def __init__(self, address: str, window: int = 65535) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._connection = h2.connection.H2Connection(h2.config.H2Configuration())
        self._connection.local_settings = h2.settings.Settings(
            initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
        )
        self._lock = threading.Lock()
        self._calls: dict[int, HalfCall] = {}
        self._authority = address
        with self._lock:
            self._connection.initiate_connection()
            self._flush()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def call(self, method: str, sent: bytes = b"", length: int | None = None) -> HalfCall:
        """Begins a call.

        Args:
            method: its name, for example "Run".
            sent: the beginning of its request.
            length: of the whole request; None sends no part of it, only the call's headers.
        """
        message = b"" if length is None else struct.pack(">BI", 0, length) + sent
        made = HalfCall(message)
        with self._lock:
            stream = self._connection.get_next_available_stream_id()
            self._calls[stream] = made
            headers = {
                ":method": "POST",
                ":scheme": "http",
                ":path": SERVICE + method,
                ":authority": self._authority,
                "te": "trailers",
                "content-type": "application/grpc",
            }
            self._connection.send_headers(stream, list(headers.items()))
            self._send()
        return made

    @property
    def most_calls(self) -> int:
        """How many calls the server lets one connection have open, those of every service."""
        with self._lock:
            return int(self._connection.remote_settings.max_concurrent_streams)

    def close(self) -> None:
        """Closes the connection, whatever its calls do."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _flush(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendall(self._connection.data_to_send())

    def _send(self) -> None:
        """Sends what the server's windows have room for."""
        for stream, call in self._calls.items():
            while call.unsent and not call.ended.is_set():
                room = min(
                    self._connection.local_flow_control_window(stream),
                    self._connection.max_outbound_frame_size,
                )
                if room <= 0:
                    break
                self._connection.send_data(stream, call.unsent[:room])
                call.sent += len(call.unsent[:room])
                call.unsent = call.unsent[room:]
        self._flush()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._socket.recv(1 << 16):
                with self._lock:
                    for event in self._connection.receive_data(data):
                        self._take(event)
                    self._send()

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamReset):
            self._end(event.stream_id, -1)
        elif isinstance(event, h2.events.TrailersReceived | h2.events.ResponseReceived):
            for name, value in event.headers:
                if name in (b"grpc-status", "grpc-status"):
                    self._end(event.stream_id, int(value))

    def _end(self, stream: int | None, status: int) -> None:
        call = self._calls[stream or 0]
        if call.status is None:
            call.status = status
        call.ended.set()


@contextlib.contextmanager
def half_client(address: str, window: int = 65535) -> Iterator[HalfClient]:
    """A `HalfClient`, closed at the end."""
    client = HalfClient(address, window)
    try:
        yield client
    finally:
        client.close()
