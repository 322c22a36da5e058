"""How fast the bytes of a stream come."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """How long the bytes of one stream took.

    Attributes:
        bytes: that came.
        first_bytes: in the first message that had any.
        first: seconds from the call until that message was dealt with.
        last: seconds from the call until the last bytes were dealt with.
        whole: seconds from the call until the end of the stream.
    """

    bytes: int
    first_bytes: int
    first: float
    last: float
    whole: float

    @property
    def rate(self) -> float:
        """Bytes a second, of the whole call."""
        return self.bytes / self.whole

    @property
    def rate_after_first(self) -> float:
        """Bytes a second, from the first message to the end."""
        return (self.bytes - self.first_bytes) / (self.whole - self.first)

    @property
    def rate_between(self) -> float:
        """Bytes a second, from the first message to the last that had any."""
        return (self.bytes - self.first_bytes) / (self.last - self.first)


class Stopwatch:
    """Takes the pace of one stream; runs from the moment that it is made."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._start = clock()
        self._first = self._last = 0.0
        self._first_bytes = 0
        self._bytes = 0

    def received(self, count: int) -> None:
        """So many more bytes are there."""
        now = self._clock() - self._start
        if not self._bytes and count:
            self._first, self._first_bytes = now, count
        if count:
            self._last = now
        self._bytes += count

    def stop(self) -> Pace:
        """The stream has ended."""
        whole = self._clock() - self._start
        return Pace(self._bytes, self._first_bytes, self._first, self._last, whole)
