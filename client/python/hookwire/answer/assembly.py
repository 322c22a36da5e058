"""Puts the tensors of a run together, out of chunks that may interleave.

A hook point's tensors, one a row, become one array [batch, …]. Chunks are written straight to where
they belong wherever a row's part is one piece of that array; only rows of a padded batch whose part
is not (attention patterns, scattered positions) go through a buffer of their own.

The plan of 60 rows and all hook points has tens of thousands of tensors, and the server computes
while the client reads it. So a hook point's tensors are looked at when the first of them comes: the
work before the first tensor of a run does not grow with the number of tensors.

Nothing is returned before it is whole: every planned byte must have come, each once and in order,
and the receipt must say the same.
"""

from __future__ import annotations

import copy
import math
import mmap
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hookwire import errors
from hookwire._proto import run_pb2, service_pb2
from hookwire.answer.entries import Entry, Incoming
from hookwire.answer.layouts import Frame, Layout, Layouts
from hookwire.ask.placement import Placement, Places
from hookwire.facts import config, dtypes
from hookwire.facts.catalogue import KEY_POSITION, POSITION
from hookwire.facts.dtypes import Array
from hookwire.wire.decode import Chunk, Event

_Group = run_pb2.TensorGroup
# Of the arrays that are made before their bytes come, and of one that is worth it.
_PREPARED_BYTES = 64 * 2**20
_LARGE_BYTES = 2**20
OUTPUTS: dict[int, str] = {
    _Group.SOURCE_LOGITS: "logits",
    _Group.SOURCE_LOG_PROBS: "log_probs",
    _Group.SOURCE_RESIDUAL: "residual",
}
"""The names of outputs, by their source."""


Key = tuple[int, str, int]
"""What the tensors of one entry have in common: source, hook point, intervention."""


class Assembly:
    """Fills the arrays of one run from its events.

    Attributes:
        receipt: of the run, once it has come.
        received: payload bytes so far.
        plan: the plan, once it has come.
    """

    def __init__(self, places: Places, names: dict[str, list[str]]) -> None:
        """Prepares to fill.

        Args:
            places: where the parts of each row belong.
            names: for hook points of which only some names are to be returned: these.
        """
        self._places = places
        self._names = names
        self._layouts = Layouts()
        # By the number of the group: the number of its first tensor, and what it is part of.
        self._firsts: list[int] = []
        self._keys: list[Key] = []
        self._incoming: dict[int, Incoming] = {}
        self._last: Incoming | None = None
        # In the order of the pass; those whose tensors have been looked at.
        self._groups_of: dict[Key, list[int]] = {}
        self._opened: dict[Key, Entry] = {}
        self._complete_rows: set[tuple[object, ...]] = set()
        self.n_tensors = 0
        self.receipt: config.Receipt | None = None
        self.received = 0
        self.plan: run_pb2.Plan | None = None
        self.run_id = ""

    @property
    def entries(self) -> list[Entry]:
        """All that the run returns, in the order of the pass; empty until the plan has come.

        Raises:
            IncompleteResultError: the plan contradicts itself or the request.
        """
        return [self._open(key) for key in self._groups_of]

    def feed(self, event: Event) -> list[Entry]:
        """Takes one event; returns what has become whole by it.

        Raises:
            IncompleteResultError: the event does not fit the plan.
        """
        if isinstance(event, list):
            done = []
            for chunk in event:
                entry = self._fill(chunk)
                if entry is not None:
                    done.append(entry)
            return done
        if isinstance(event, service_pb2.Accepted):
            self.run_id = event.run_id
            self.begin(event.plan)
            # The pass waits for what functions say, also of nothing.
            return self._without_bytes(_Group.SOURCE_CALLBACK)
        if isinstance(event, run_pb2.Receipt):
            self.receipt = config.receipt(event)
            return self._without_bytes()
        return []

    def begin(self, plan: run_pb2.Plan) -> None:
        """Takes the plan: what will come, and in which order.

        Raises:
            IncompleteResultError: it is the second.
        """
        if self.plan is not None:
            raise errors.IncompleteResultError("the server sent two plans for one run")
        self.plan = plan
        for number, group in enumerate(plan.groups):
            key = (group.source, group.hook, group.intervention)
            self._groups_of.setdefault(key, []).append(number)
            self._keys.append(key)
            self._firsts.append(self.n_tensors)
            self.n_tensors += len(group.tensors)

    def check(self) -> None:
        """Whether the plan has everything that was asked for.

        Raises:
            IncompleteResultError: it has not, or it contradicts itself.
        """
        assert self.plan is not None
        total = sum(entry.sent_bytes for entry in self.entries)
        if total != self.plan.total_bytes:
            raise errors.IncompleteResultError(
                f"the plan announces {self.plan.total_bytes} bytes, but its tensors have {total}"
            )
        planned = {OUTPUTS.get(source) for source, _, _ in self._groups_of}
        absent = [name for name in self._places.outputs if name not in planned]
        asked = {number for group in self.plan.groups for number in group.captures}
        absent += [hook for at, hook in enumerate(self._places.hooks) if at not in asked]
        if absent:
            raise errors.IncompleteResultError(f"the server plans nothing for {', '.join(absent)}")

    def prepare(self) -> None:
        """Makes the first large arrays before their bytes come.

        The system gives new memory page by page as it is first written, which takes as long as
        writing it again: better while the server computes than when bytes wait.
        """
        room = _PREPARED_BYTES
        for key, sent in self.sent_bytes().items():
            room -= sent
            if room < 0:
                return
            if sent >= _LARGE_BYTES:
                entry = self._open(key)
                entry.allocate()[:: mmap.PAGESIZE] = bytes(-(-entry.bytes // mmap.PAGESIZE))

    def sent_bytes(self) -> dict[Key, int]:
        """Bytes that travel, of each entry, in the order of the pass; without opening any."""
        return {
            key: sum(self._group_bytes(number) for number in numbers)
            for key, numbers in self._groups_of.items()
        }

    def _group_bytes(self, number: int) -> int:
        assert self.plan is not None
        group = self.plan.groups[number]
        # A size is 0 where it differs from row to row.
        elements = math.prod(axis.size for axis in group.axes) * len(group.tensors)
        return (elements or self._layouts.read(group).elements) * _itemsize(group)

    def _open(self, key: Key) -> Entry:
        """The entry, ready to be filled."""
        entry = self._opened.get(key)
        if entry is not None:
            return entry
        assert self.plan is not None
        numbers = self._groups_of[key]
        groups = [self.plan.groups[number] for number in numbers]
        entry = self._entry(groups)
        layouts = [self._layouts.read(group) for group in groups]
        for number, layout in zip(numbers, layouts, strict=True):
            places = self._layouts.place(layout, entry.frame, entry.name)
            first = self._firsts[number]
            self._incoming[number] = Incoming(entry, first, places)
            entry.parts.extend(range(first, first + len(places.sizes)))
            entry.missing += len(places.sizes) - places.sizes.count(0)
            entry.sent_bytes += layout.elements * entry.frame.itemsize
        self._check_rows(entry, layouts)
        if not entry.missing:
            entry.allocate()
            entry.memory = None
        self._opened[key] = entry
        return entry

    def _without_bytes(self, source: int | None = None) -> list[Entry]:
        """What nothing comes for, because it is empty: whole as it is.

        Args:
            source: of these; None: of all that were not opened.
        """
        keys = [
            key
            for key in self._groups_of
            if key not in self._opened and (source is None or key[0] == source)
        ]
        return [entry for entry in map(self._open, keys) if not entry.missing]

    def _entry(self, groups: Sequence[run_pb2.TensorGroup]) -> Entry:
        group, places = groups[0], self._places
        if group.dtype not in dtypes.NUMPY:
            raise errors.IncompleteResultError(
                f"the server sends {group.hook or group.source} in a dtype that this client does "
                f"not know ({group.dtype})"
            )
        output = OUTPUTS.get(group.source)
        callback = group.intervention if group.source == _Group.SOURCE_CALLBACK else None
        if callback is not None:
            along: Placement | None = places.keys
        else:
            along = places.captures if output is None else places.outputs.get(output)
        if along is None:
            raise errors.IncompleteResultError(
                f"the server sends {output}, which was not requested"
            )
        kinds, sizes = [], [places.batch]
        for axis in group.axes:
            kind = axis.kind
            kinds.append(kind)
            if kind == POSITION:
                sizes.append(along.width)
            elif kind == KEY_POSITION:
                sizes.append(places.keys.width)
            else:
                sizes.append(axis.size)
        frame = Frame(tuple(kinds), tuple(sizes), _itemsize(group), along, places.keys)
        name = output or group.hook
        names = self._names.get(group.hook)
        if not names:
            every = (each for part in groups for each in (list(part.names) or [name]))
            names = list(dict.fromkeys(every))
        return Entry(name, output is not None, names, group.dtype, frame, callback)

    def _check_rows(self, entry: Entry, layouts: Sequence[Layout]) -> None:
        """Every row that has something at an entry's place must send it."""
        frame = entry.frame
        has_positions = POSITION in frame.kinds
        alike = (has_positions, id(frame.along), *map(id, layouts))
        if alike in self._complete_rows:
            return
        rows = {row for layout in layouts for row in layout.rows}
        for row in range(self._places.batch):
            if row not in rows and (not has_positions or len(frame.along.rows[row])):
                raise errors.IncompleteResultError(
                    f"the server plans {entry.name} without row {row}"
                )
        self._complete_rows.add(alike)

    def _group(self, tensor: int) -> Incoming:
        """The group that a tensor belongs to, by its number in the plan."""
        if tensor >= self.n_tensors:
            raise errors.IncompleteResultError(f"the server sent tensor {tensor}, not planned")
        number = bisect_right(self._firsts, tensor) - 1
        self._open(self._keys[number])
        return self._incoming[number]

    def _fill(self, chunk: Chunk) -> Entry | None:
        tensor, offset, data, _ = chunk
        group = self._last
        # Rows mostly follow each other.
        if group is None or not group.first <= tensor < group.end:
            group = self._last = self._group(tensor)
        at = tensor - group.first
        planned, had = group.places.sizes[at], group.received[at]
        size = len(data)
        if size and offset + size > planned and tensor + 1 < group.end:
            return self._fill_several(group, chunk)
        end = had + size
        if offset != had or end > planned:
            raise errors.IncompleteResultError(
                f"{group.entry.name}: the server sent bytes {offset} to {offset + size} of "
                f"{planned}, but {had} had come"
            )
        memory, start = group.target(at)
        memory[start + had : start + end] = data
        group.received[at] = end
        self.received += size
        if end < planned or not size:
            return None
        group.complete(at)
        entry = group.entry
        if entry.missing:
            return None
        # It belongs to the user now.
        entry.memory = None
        return entry

    def _fill_several(self, group: Incoming, chunk: Chunk) -> Entry | None:
        """Takes the bytes of several tensors of a group."""
        tensor, offset, data, _ = chunk
        places, entry = group.places, group.entry
        is_all = tensor == group.first and not offset and len(data) == places.total
        if is_all and places.is_solid and group.is_untouched:
            group.fill(data)
            self.received += len(data)
            if entry.missing:
                return None
            entry.memory = None
            return entry
        done = None
        while len(data):
            left = places.sizes[tensor - group.first] - offset
            if left > 0 or tensor + 1 == group.end:
                # Whatever does not fit the last one is an error there.
                size = len(data) if tensor + 1 == group.end else left
                done = self._fill(Chunk(tensor, offset, data[:size]))
                data = data[size:]
                offset = 0
            else:
                offset = -left
            tensor += 1
        return done

    def part(self, number: int, array: Array) -> Array:
        """What tensor `number` of the plan is of an array that is laid out as its entry's."""
        group = self._group(number)
        at = number - group.first
        row: Array = array[group.places.rows[at]]
        return np.ascontiguousarray(row[group.places.where[at]])

    def only(self, rows: slice) -> Assembly:
        """What has come, of some rows of a run that has ended and has no padding.

        Args:
            rows: a slice of one row.
        """
        assert self.receipt is not None
        made = copy.copy(self)
        made._opened = {
            key: replace(entry, array=None if entry.array is None else entry.array[rows])
            for key, entry in ((key, self._open(key)) for key in self._groups_of)
        }
        of_these = (one for one in self.receipt.non_finite if one.row == rows.start)
        made.receipt = replace(
            self.receipt, non_finite=tuple(replace(one, row=0) for one in of_these)
        )
        return made

    def finish(self) -> None:
        """Checks that all of it has come.

        Raises:
            IncompleteResultError: it has not.
        """
        if self.plan is None:
            raise errors.IncompleteResultError("the run ended before it was accepted")
        self.check()
        missing = [entry.name for entry in self.entries if entry.missing]
        if missing:
            raise errors.IncompleteResultError(
                f"the run ended with {self.received} of {self.plan.total_bytes} bytes; "
                f"{', '.join(missing[:5])} {'is' if len(missing) == 1 else 'are'} incomplete"
            )
        if self.receipt is None:
            raise errors.IncompleteResultError("the run ended without a receipt")
        if (self.receipt.bytes, self.receipt.tensors) != (self.received, self.n_tensors):
            raise errors.IncompleteResultError(
                f"the receipt names {self.receipt.tensors} tensors and {self.receipt.bytes} bytes; "
                f"{self.n_tensors} tensors and {self.received} bytes arrived"
            )


def _itemsize(group: run_pb2.TensorGroup) -> int:
    dtype = dtypes.NUMPY.get(group.dtype)
    return dtype.itemsize if dtype else 0
