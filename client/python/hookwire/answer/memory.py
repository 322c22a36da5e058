"""The memory of results, which later results use again."""

from __future__ import annotations

import math
import sys
import threading
from collections import defaultdict, deque
from typing import Any

import numpy as np

from hookwire.facts.dtypes import Array

# Of arrays that are kept, and of one that is worth it.
_KEPT_BYTES = 2**30
_LEAST_BYTES = 2**15

# An array in a list: its only reference, unless somebody holds it.
_Slot = list[Array]


def _references(slot: _Slot) -> int:
    return sys.getrefcount(slot[0])


_ALONE = _references([np.empty(0)])


class Memory:
    """Makes arrays, out of the memory of earlier ones that nobody holds any more.

    A result has hundreds of arrays, which are freed together. The system takes their memory back,
    and clears every page again before the next result may have it, which takes longer than to copy
    the result there. So arrays of up to 1 GiB in all are kept, until the model is closed.

    An array is free when nothing refers to it but this object. Views of it refer to it, and so do
    torch tensors that share its memory. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By size; that which was used last is the last one.
        self._slots: defaultdict[int, deque[_Slot]] = defaultdict(deque)
        self._bytes = 0

    def empty(self, sizes: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array whose values are not set, and which owns no memory: it is a view."""
        count = math.prod(sizes) * dtype.itemsize
        if not _LEAST_BYTES <= count <= _KEPT_BYTES:
            return np.empty(sizes, dtype)
        with self._lock:
            slots = self._slots[count]
            # Arrays are mostly freed in the order in which they were made.
            if slots and _references(slots[0]) == _ALONE:
                slots.rotate(-1)
            else:
                self._keep(count)
            made: Array = self._slots[count][-1][0].view(dtype).reshape(sizes)
            return made

    def zeros(self, sizes: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array of zeros; otherwise as `empty`."""
        made = self.empty(sizes, dtype)
        made.fill(0)
        return made

    def clear(self) -> None:
        """Keeps nothing. Arrays that somebody holds stay theirs."""
        with self._lock:
            self._slots.clear()
            self._bytes = 0

    def _keep(self, count: int) -> None:
        """Makes one more array of this size, for which all others are forgotten if need be."""
        if self._bytes + count > _KEPT_BYTES:
            self._slots.clear()
            self._bytes = 0
        self._slots[count].append([np.empty(count, np.uint8)])
        self._bytes += count
