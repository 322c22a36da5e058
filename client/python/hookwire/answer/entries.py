"""What a run returns for one hook point or output, while it is being filled."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from hookwire.answer.layouts import Destinations, Frame
from hookwire.facts import dtypes
from hookwire.facts.dtypes import Array


@dataclass
class Entry:
    """One hook point's (or output's) array, while it is being filled.

    Attributes:
        name: canonical name of the hook point, or "logits", "log_probs", "residual".
        is_output: which of the two.
        names: the names under which it is returned.
        dtype: the wire's number.
        frame: the axes of the result.
        sent_bytes: that travel for it: without padding.
        missing: tensors that are not whole yet.
        callback: the number of the intervention whose function is to see it; None for results.
        parts: the tensors that it is made of: their numbers in the plan.
        array: the result; None before its first bytes come, and once it belongs to the user.
    """

    name: str
    is_output: bool
    names: list[str]
    dtype: int
    frame: Frame = field(repr=False)
    callback: int | None = None
    sent_bytes: int = 0
    missing: int = 0
    parts: list[int] = field(default_factory=list, repr=False)
    array: Array | None = field(default=None, repr=False)
    # The array's bytes, until it is whole.
    memory: memoryview | None = field(default=None, repr=False)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the result's axes, the batch first."""
        return self.frame.sizes

    @property
    def bytes(self) -> int:
        """Of the result, padding included."""
        return math.prod(self.frame.sizes) * self.frame.itemsize

    def allocate(self) -> memoryview:
        """The array's bytes; makes the array first, where there is none."""
        if self.memory is None:
            # Where padding stays, it is zero; the rest is written over.
            make = np.empty if self.frame.is_whole else np.zeros
            self.array = make(self.frame.sizes, dtype=dtypes.NUMPY[self.dtype])
            self.memory = _bytes(self.array)
        return self.memory


class Incoming:
    """The tensors of one group of the plan: where they go, and how many bytes of each have come."""

    def __init__(self, entry: Entry, first: int, places: Destinations) -> None:
        self.entry = entry
        self.first = first
        self.end = first + len(places.sizes)
        self.places = places
        self.received = [0] * len(places.sizes)
        # Of tensors that are not one piece of the array.
        self.buffers: dict[int, Array] = {}

    def target(self, at: int) -> tuple[memoryview, int]:
        """The memory that a tensor's bytes go to, and where in it they begin."""
        start = self.places.starts[at]
        if start >= 0:
            return self.entry.memory or self.entry.allocate(), start
        buffer = self.buffers.get(at)
        if buffer is None:
            dtype = dtypes.NUMPY[self.entry.dtype]
            buffer = self.buffers[at] = np.empty(self.places.shapes[at], dtype)
        return _bytes(buffer), 0

    @property
    def is_untouched(self) -> bool:
        """Whether nothing has come yet."""
        return not any(self.received)

    def fill(self, data: memoryview) -> None:
        """Takes the bytes of all tensors, which are one piece of the array."""
        memory, start = self.target(0)
        memory[start : start + len(data)] = data
        self.received[:] = self.places.sizes
        # Empty tensors were never missing.
        self.entry.missing -= len(self.places.sizes) - self.places.sizes.count(0)

    def complete(self, at: int) -> None:
        """A tensor has come whole."""
        self.entry.missing -= 1
        if at in self.buffers:
            self.entry.allocate()
            assert self.entry.array is not None
            row: Array = self.entry.array[self.places.rows[at]]
            row[self.places.where[at]] = self.buffers.pop(at)


def _bytes(array: Array) -> memoryview:
    """A contiguous array's memory."""
    return array.reshape(-1).view(np.uint8).data
