"""Results through memory that a server on the same host shares.

The server announces a Unix socket. Who connects to it as the server's user gets a token and a file
of memory, which is mapped for reading. A run that names the token leaves its tensors there, and its
messages say where; they are copied out as chunks of other runs are. Where any of this is not to be
had (another host, a container, another user, another system), results come in messages.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import sys
import weakref
from collections.abc import Iterator

from hookwire import errors
from hookwire._proto import model_pb2, run_pb2, service_pb2
from hookwire.wire.decode import Chunk, Event

# Of the server, for its first message.
_SECONDS = 1.0
_TOKEN_BYTES = 16
# Says that the client has read what a run left in the memory.
_READ = b"\0"


class Segment:
    """Memory that one run at a time may leave its tensors in, and the connection that it came over.

    Attributes:
        token: for `RunSpec.shared_memory_token`.
    """

    def __init__(self, name: str) -> None:
        """Connects.

        Args:
            name: of the socket, in the abstract namespace.

        Raises:
            OSError: nobody listens there, or the server does not share with this user.
        """
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # A model need not be closed. Python warns of sockets that nobody has closed.
        weakref.finalize(self, self._connection.close)
        try:
            self._connection.settimeout(_SECONDS)
            self._connection.connect("\0" + name)
            self.token, files, _, _ = socket.recv_fds(self._connection, _TOKEN_BYTES, 1)
            if len(self.token) != _TOKEN_BYTES or not files:
                raise PermissionError("the server does not share memory with this user")
            try:
                self._memory = memoryview(mmap.mmap(files[0], 0, prot=mmap.PROT_READ))
            finally:
                os.close(files[0])
        except BaseException:
            self._connection.close()
            raise
        self._connection.setblocking(False)
        self._lent = False

    def alive(self) -> bool:
        """Whether the server is still there."""
        try:
            return bool(self._connection.recv(1))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def resolve(self, event: Event) -> Event:
        """The event, with the bytes that its chunks speak of.

        Raises:
            IncompleteResultError: they lie outside the memory.
        """
        if isinstance(event, service_pb2.Accepted):
            self._lent = event.shared_memory
        if not isinstance(event, list):
            return event
        return [self._resolve(chunk) if chunk.shared else chunk for chunk in event]

    def _resolve(self, chunk: Chunk) -> Chunk:
        shared = chunk.shared
        assert shared is not None
        if not self._lent or shared.stop > len(self._memory):
            raise errors.IncompleteResultError(
                f"the server sent tensor {chunk.tensor} through shared memory, which this run does "
                "not use"
            )
        return Chunk(chunk.tensor, chunk.offset, self._memory[shared.start : shared.stop])

    def free(self) -> bool:
        """Tells the server that what the run left here has been read. False where it has gone."""
        if self._lent:
            self._lent = False
            try:
                self._connection.send(_READ)
            except OSError:
                return False
        return True

    def close(self) -> None:
        """Lets go of the memory, which the server then gives back to the system."""
        self._connection.close()
        self._memory = memoryview(b"")


class SharedMemory:
    """What a server shares with one connected client: as many segments as it has runs at a time.

    Safe to use from several threads.

    Attributes:
        lost: the server that shared is gone: the one that is there now may `offer` again.
    """

    def __init__(self) -> None:
        """Shares nothing, until `offer`."""
        self._socket = ""
        self._free: list[Segment] = []
        # Whether a segment was ever had from that socket.
        self._worked = False
        self.lost = False

    def offer(self, server: model_pb2.Server) -> None:
        """Takes note of what the server says of itself."""
        self._worked = self.lost = False
        if sys.platform == "linux" and "shared_memory" in server.capabilities:
            self._socket = server.shared_memory_socket

    @property
    def offered(self) -> bool:
        """Whether `connect` may give a segment."""
        return bool(self._socket)

    def idle(self) -> Segment | None:
        """A segment that an earlier run has done with; None where there is none."""
        while self._free:
            with contextlib.suppress(IndexError):  # another thread was faster
                segment = self._free.pop()
                if segment.alive():
                    return segment
                segment.close()
        return None

    def connect(self) -> Segment | None:
        """A new segment; None where the server shares nothing with this client."""
        if not self._socket:
            return None
        try:
            segment = Segment(self._socket)
            self._worked = True
            return segment
        except (OSError, ValueError):  # mmap refuses an empty file with a ValueError
            # Not on this host, or not for this user: there is no need to try again.
            # But where it has worked, the server has been started again, and has another socket.
            self._socket, self.lost = "", self._worked
            return None

    @contextlib.contextmanager
    def lend(self, segment: Segment | None, spec: run_pb2.RunSpec) -> Iterator[None]:
        """Lets a run use a segment inside a `with` block, which ends when all has been read."""
        if segment is None:
            yield
            return
        spec.shared_memory_token = segment.token
        try:
            yield
        except BaseException:
            # The server may still write there.
            segment.close()
            raise
        if self._socket and segment.free():
            self._free.append(segment)
        else:
            segment.close()

    def forget(self) -> None:
        """In a child process: leaves the parent's memory alone, and shares anew."""
        free, self._free = self._free, []
        for segment in free:
            segment.close()  # this process's copy of the socket; the parent's stays open

    def close(self) -> None:
        """Lets go of all that no run has. Shares nothing, until the next `offer`."""
        self._socket, self.lost = "", False
        while self._free:
            self._free.pop().close()
