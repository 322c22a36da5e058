"""Puts the tensors of a run together, out of chunks that may interleave.

A hook point's tensors, one a row, become one array [batch, …]. Chunks are written straight to where
they belong wherever a row's part is one piece of that array; only rows of a padded batch whose part
is not (attention patterns, scattered positions) go through a buffer of their own.

Nothing is returned before it is whole: every planned byte must have come, each once and in order,
and the receipt must say the same.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass, field

import numpy as np

from hookwire import config, dtypes, errors
from hookwire._proto import run_pb2, service_pb2
from hookwire.catalogue import KEY_POSITION, POSITION
from hookwire.dtypes import Array
from hookwire.placement import Placement
from hookwire.wire import Chunk, Event

_Group = run_pb2.TensorGroup
# Of the arrays that are made before their bytes come, and of one that is worth it.
_PREPARED_BYTES = 256 * 2**20
_LARGE_BYTES = 2**20
OUTPUTS = {
    _Group.SOURCE_LOGITS: "logits",
    _Group.SOURCE_LOG_PROBS: "log_probs",
    _Group.SOURCE_RESIDUAL: "residual",
}
"""The names of outputs, by their source."""


@dataclass(frozen=True)
class Places:
    """Where the parts of each row belong, for everything that a run returns.

    Attributes:
        batch: rows.
        keys: along all positions: of scores' and patterns' keys, and of what functions see.
        captures: along the positions of hook points.
        outputs: along the positions of outputs, by name.
        hooks: what was asked for, by its number; empty where it may be left out.
    """

    batch: int
    keys: Placement
    captures: Placement
    outputs: dict[str, Placement]
    hooks: tuple[str, ...] = ()


@dataclass
class Entry:
    """One hook point's (or output's) array, while it is being filled.

    Attributes:
        name: canonical name of the hook point, or "logits", "log_probs", "residual".
        is_output: which of the two.
        names: the names under which it is returned.
        dtype: the wire's number.
        axes: kinds of one row's axes.
        sizes: of the result's axes, the batch first.
        rows: that send something.
        missing: tensors that are not whole yet.
        callback: the number of the intervention whose function is to see it; None for results.
        parts: the tensors that it is made of: their numbers in the plan.
    """

    name: str
    is_output: bool
    names: list[str]
    dtype: int
    axes: list[int]
    sizes: list[int]
    rows: set[int] = field(default_factory=set, repr=False)
    missing: int = 0
    callback: int | None = None
    parts: list[int] = field(default_factory=list, repr=False)
    array: Array | None = field(default=None, repr=False)

    @property
    def bytes(self) -> int:
        """Of the result, padding included."""
        return math.prod(self.sizes) * dtypes.NUMPY[self.dtype].itemsize


@dataclass
class _Part:
    """One planned tensor: where its bytes go, and how many have come."""

    entry: Entry
    row: int
    shape: tuple[int, ...]
    bytes: int
    received: int = 0
    # The destination, made when the first chunk comes; `buffer` where it has to be moved later.
    target: memoryview | None = None
    buffer: Array | None = None


class Assembly:
    """Fills the arrays of one run from its events.

    Attributes:
        entries: what the run returns, in the order of the pass; empty until the plan has come.
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
        self._parts: list[_Part] = []
        self.entries: list[Entry] = []
        self.receipt: config.Receipt | None = None
        self.received = 0
        self.plan: run_pb2.Plan | None = None
        self.run_id = ""

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
            return [entry for entry in self.entries if not entry.missing]
        if isinstance(event, run_pb2.Receipt):
            self.receipt = config.receipt(event)
        return []

    def begin(self, plan: run_pb2.Plan) -> None:
        """Takes the plan: what will come, and in which order.

        Raises:
            IncompleteResultError: the plan contradicts itself or the request.
        """
        if self.plan is not None:
            raise errors.IncompleteResultError("the server sent two plans for one run")
        self.plan = plan
        found: dict[tuple[int, str, int], Entry] = {}
        for group in plan.groups:
            if group.dtype not in dtypes.NUMPY:
                raise errors.IncompleteResultError(
                    f"the server sends {group.hook or group.source} in a dtype that this client "
                    f"does not know ({group.dtype})"
                )
            key = (group.source, group.hook, group.intervention)
            entry = found.get(key)
            if entry is None:
                entry = found[key] = self._entry(group)
                self.entries.append(entry)
            entry.names = list(dict.fromkeys([*entry.names, *self._names_of(group)]))
            self._add_parts(group, entry)
        self._check_whole(plan)
        for part in self._parts:
            if part.bytes == 0:
                self._complete(part)

    def prepare(self) -> None:
        """Makes the first large arrays before their bytes come.

        The system gives new memory page by page as it is first written, which takes as long as
        writing it again: better while the server computes than when bytes wait.
        """
        room = _PREPARED_BYTES
        for entry in self.entries:
            room -= entry.bytes
            if room < 0:
                return
            if entry.bytes >= _LARGE_BYTES:
                _bytes(self._array(entry))[:: mmap.PAGESIZE] = bytes(
                    -(-entry.bytes // mmap.PAGESIZE)
                )

    def _names_of(self, group: run_pb2.TensorGroup) -> list[str]:
        named = OUTPUTS.get(group.source) or group.hook
        return self._names.get(group.hook) or list(group.names) or [named]

    def _entry(self, group: run_pb2.TensorGroup) -> Entry:
        places = self._places
        output = OUTPUTS.get(group.source)
        callback = group.intervention if group.source == _Group.SOURCE_CALLBACK else None
        if callback is not None:
            along: Placement | None = places.keys
        else:
            along = places.captures if output is None else places.outputs.get(output)
        if along is None:
            raise errors.IncompleteResultError(f"the server sends {output}, which nobody asked for")
        kinds: list[int] = [axis.kind for axis in group.axes]
        sizes = [places.batch]
        for axis in group.axes:
            if axis.kind == POSITION:
                sizes.append(along.width)
            elif axis.kind == KEY_POSITION:
                sizes.append(places.keys.width)
            else:
                sizes.append(axis.size)
        is_output = output is not None
        return Entry(
            output or group.hook, is_output, [], group.dtype, kinds, sizes, callback=callback
        )

    def _along(self, entry: Entry) -> Placement:
        if entry.callback is not None:
            return self._places.keys
        return self._places.outputs[entry.name] if entry.is_output else self._places.captures

    def _add_parts(self, group: run_pb2.TensorGroup, entry: Entry) -> None:
        itemsize = dtypes.NUMPY[entry.dtype].itemsize
        for planned in group.tensors:
            shape = tuple(planned.shape)
            part = _Part(entry, planned.sequence, shape, math.prod(shape) * itemsize)
            expected = self._shape(entry, part.row) if part.row < self._places.batch else None
            if shape != expected:
                raise errors.IncompleteResultError(
                    f"the server plans {list(shape)} for row {part.row} of {entry.name}; "
                    f"{expected} was asked for"
                )
            entry.parts.append(len(self._parts))
            self._parts.append(part)
            entry.rows.add(part.row)
            entry.missing += 1

    def _shape(self, entry: Entry, row: int) -> tuple[int, ...]:
        """Of what a row sends."""
        along, keys = self._along(entry), self._places.keys
        sizes = list(entry.sizes[1:])
        for axis, kind in enumerate(entry.axes):
            if kind == POSITION:
                sizes[axis] = len(along.rows[row])
            elif kind == KEY_POSITION:
                sizes[axis] = len(keys.rows[row])
        return tuple(sizes)

    def _check_whole(self, plan: run_pb2.Plan) -> None:
        """Everything that was asked for must be in the plan, for every row that has it."""
        total = sum(part.bytes for part in self._parts)
        if total != plan.total_bytes:
            raise errors.IncompleteResultError(
                f"the plan announces {plan.total_bytes} bytes, but its tensors have {total}"
            )
        planned = {entry.name for entry in self.entries if entry.is_output}
        absent = [name for name in self._places.outputs if name not in planned]
        asked = {number for group in plan.groups for number in group.captures}
        absent += [hook for at, hook in enumerate(self._places.hooks) if at not in asked]
        if absent:
            raise errors.IncompleteResultError(f"the server plans nothing for {', '.join(absent)}")
        for entry in self.entries:
            rows = self._along(entry).rows
            for row in range(self._places.batch):
                if row not in entry.rows and (POSITION not in entry.axes or len(rows[row])):
                    raise errors.IncompleteResultError(
                        f"the server plans {entry.name} without row {row}"
                    )

    def _fill(self, chunk: Chunk) -> Entry | None:
        if chunk.tensor >= len(self._parts):
            raise errors.IncompleteResultError(
                f"the server sent tensor {chunk.tensor}, not planned"
            )
        part = self._parts[chunk.tensor]
        size = len(chunk.data)
        if chunk.offset != part.received or part.received + size > part.bytes:
            raise errors.IncompleteResultError(
                f"{part.entry.name}: the server sent bytes {chunk.offset} to {chunk.offset + size} "
                f"of {part.bytes}, but {part.received} had come"
            )
        if part.target is None:
            part.target = self._target(part)
        part.target[part.received : part.received + size] = chunk.data
        part.received += size
        self.received += size
        return self._complete(part) if part.received == part.bytes and size else None

    def _array(self, entry: Entry) -> Array:
        if entry.array is None:
            whole = self._along(entry).whole and (
                KEY_POSITION not in entry.axes or self._places.keys.whole
            )
            # Where padding stays, it is zero; the rest is written over.
            make = np.empty if whole else np.zeros
            entry.array = make(entry.sizes, dtype=dtypes.NUMPY[entry.dtype])
        return entry.array

    def _where(self, part: _Part) -> tuple[slice | list[int], ...]:
        """Where in its row of the result the tensor belongs, axis by axis."""
        entry = part.entry
        where: list[slice | list[int]] = []
        for kind in entry.axes:
            if kind == POSITION:
                places = self._along(entry).rows[part.row]
            elif kind == KEY_POSITION:
                places = self._places.keys.rows[part.row]
            else:
                where.append(slice(None))
                continue
            if isinstance(places, range):
                where.append(slice(places.start, places.stop))
            else:
                where.append(places)
        return tuple(where)

    def _target(self, part: _Part) -> memoryview:
        """The memory that the tensor's bytes go to."""
        where = self._where(part)
        piece: Array = self._array(part.entry)[part.row]
        if not any(isinstance(places, list) for places in where):
            piece = piece[where]
            if piece.flags.c_contiguous:
                return _bytes(piece)
        part.buffer = np.empty(part.shape, dtype=piece.dtype)
        return _bytes(part.buffer)

    def _complete(self, part: _Part) -> Entry | None:
        entry = part.entry
        array = self._array(entry)
        if part.buffer is not None:
            row: Array = array[part.row]
            row[self._where(part)] = part.buffer
            part.buffer = None
        part.target = None
        entry.missing -= 1
        return entry if entry.missing == 0 else None

    def part(self, number: int, array: Array) -> Array:
        """What tensor `number` of the plan is of an array that is laid out as its entry's."""
        part = self._parts[number]
        row: Array = array[part.row]
        return np.ascontiguousarray(row[self._where(part)])

    def finish(self) -> None:
        """Checks that all of it has come.

        Raises:
            IncompleteResultError: it has not.
        """
        if self.plan is None:
            raise errors.IncompleteResultError("the run ended before it was accepted")
        missing = [entry.name for entry in self.entries if entry.missing]
        if missing:
            raise errors.IncompleteResultError(
                f"the run ended with {self.received} of {self.plan.total_bytes} bytes; "
                f"{', '.join(missing[:5])} {'is' if len(missing) == 1 else 'are'} not whole"
            )
        if self.receipt is None:
            raise errors.IncompleteResultError("the run ended without a receipt")
        if (self.receipt.bytes, self.receipt.tensors) != (self.received, len(self._parts)):
            raise errors.IncompleteResultError(
                f"the receipt speaks of {self.receipt.tensors} tensors and {self.receipt.bytes} "
                f"bytes; {len(self._parts)} and {self.received} came"
            )


def _bytes(array: Array) -> memoryview:
    """A contiguous array's memory."""
    return array.reshape(-1).view(np.uint8).data
