"""What a run returns for one hook point or output, while it is being filled."""

from __future__ import annotations

import numpy as np

from hookwire.answer.blueprint import Draft
from hookwire.answer.layouts import Destinations
from hookwire.answer.memory import Memory
from hookwire.facts import dtypes
from hookwire.facts.dtypes import Array


class Entry:
    """One hook point's (or output's) array, while it is being filled.

    Attributes:
        draft: what the plan says of it; the next five are its own.
        missing: tensors that are not whole yet.
        array: the result; None before its first bytes come, and once it belongs to the user.
    """

    __slots__ = ("_source", "array", "draft", "memory", "missing")

    def __init__(self, draft: Draft, source: Memory, array: Array | None = None) -> None:
        self._source = source
        self.draft = draft
        self.missing = draft.n_filled
        self.array = array
        # The array's bytes, until it is whole.
        self.memory: memoryview | None = None

    @property
    def name(self) -> str:
        """The canonical name of the hook point, or "logits", "log_probs", "residual"."""
        return self.draft.name

    @property
    def is_output(self) -> bool:
        """Whether it is an output rather than a hook point's."""
        return self.draft.is_output

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which it is returned."""
        return self.draft.names

    @property
    def callback(self) -> int | None:
        """The number of the intervention whose function is to see it; None for results."""
        return self.draft.callback

    @property
    def sent_bytes(self) -> int:
        """Bytes that travel for it: without padding."""
        return self.draft.sent_bytes

    def allocate(self) -> memoryview:
        """The array's bytes; makes the array first, where there is none."""
        if self.memory is None:
            # Where padding stays, it is zero; the rest is written over.
            frame = self.draft.frame
            make = self._source.empty if frame.is_whole else self._source.zeros
            self.array = make(frame.sizes, dtypes.NUMPY[self.draft.dtype])
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
            dtype = dtypes.NUMPY[self.entry.draft.dtype]
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
