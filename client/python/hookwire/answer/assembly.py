"""Puts the tensors of a run together, out of chunks that may interleave.

A hook point's tensors, one a row, become one array [batch, …]. Chunks are written straight to where
they belong wherever a row's part is one piece of that array; only rows of a padded batch whose part
is not (attention patterns, scattered positions) go through a buffer of their own.

Nothing is returned before it is whole: every planned byte must have come, each once and in order,
and the receipt must say the same.
"""

from __future__ import annotations

import copy
import mmap
from dataclasses import replace

import numpy as np

from hookwire import errors
from hookwire._proto import run_pb2, service_pb2
from hookwire.answer.blueprint import Blueprint, Key
from hookwire.answer.entries import Entry, Incoming
from hookwire.answer.kept import Kept
from hookwire.ask.placement import Places
from hookwire.facts import config
from hookwire.facts.dtypes import Array
from hookwire.wire.decode import Chunk, Event

_Group = run_pb2.TensorGroup
# Of the arrays that are made before their bytes come, and of one that is worth it.
_PREPARED_BYTES = 64 * 2**20
_LARGE_BYTES = 2**20


class Assembly:
    """Fills the arrays of one run from its events.

    Args:
        places: where the parts of each row belong.
        names: for hook points of which only some names are to be returned: these.
        kept: from earlier runs; None: nothing.

    Attributes:
        receipt: of the run, once it has come.
        received: payload bytes so far.
        blueprint: what the plan says, once it has come.
    """

    def __init__(
        self,
        places: Places,
        names: dict[str, list[str]],
        kept: Kept | None = None,
    ) -> None:
        self._places = places
        self._names = names
        self._kept = kept or Kept()
        # By the number of the group.
        self._incoming: dict[int, Incoming] = {}
        self._last: Incoming | None = None
        # Those that tensors have come for.
        self._opened: dict[Key, Entry] = {}
        self.blueprint: Blueprint | None = None
        self.receipt: config.Receipt | None = None
        self.received = 0
        self.run_id = ""

    @property
    def plan(self) -> run_pb2.Plan | None:
        """The plan, once it has come."""
        return self.blueprint.plan if self.blueprint else None

    @property
    def entries(self) -> list[Entry]:
        """All that the run returns, in the order of the pass; empty until the plan has come.

        Raises:
            IncompleteResultError: the plan contradicts itself or the request.
        """
        return [self._open(key) for key in self.blueprint.groups_of] if self.blueprint else []

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

    def begin(self, plan: run_pb2.Plan) -> Blueprint:
        """Takes the plan: what will come, and in which order. Returns what it says.

        Raises:
            IncompleteResultError: it is the second.
        """
        if self.blueprint is not None:
            raise errors.IncompleteResultError("the server sent two plans for one run")
        self.blueprint = self._kept.blueprints.get(plan, self._places, self._names)
        return self.blueprint

    def prepare(self) -> None:
        """Makes the first large arrays before their bytes come.

        The system gives new memory page by page as it is first written, which takes as long as
        writing it again: better while the server computes than when bytes wait.
        """
        assert self.blueprint is not None
        room = _PREPARED_BYTES
        for key, sent in self.blueprint.sent_bytes.items():
            room -= sent
            if room < 0:
                return
            if sent >= _LARGE_BYTES:
                entry = self._open(key)
                memory = entry.allocate()
                memory[:: mmap.PAGESIZE] = bytes(-(-len(memory) // mmap.PAGESIZE))

    def _open(self, key: Key) -> Entry:
        """The entry, ready to be filled."""
        entry = self._opened.get(key)
        if entry is None:
            assert self.blueprint is not None
            draft = self.blueprint.draft(key)
            entry = self._opened[key] = Entry(draft, self._kept.memory)
            for part in draft.parts:
                self._incoming[part.number] = Incoming(entry, part.first, part.places)
            if not entry.missing:
                entry.allocate()
                entry.memory = None
        return entry

    def _without_bytes(self, source: int | None = None) -> list[Entry]:
        """What nothing comes for, because it is empty: whole as it is.

        Args:
            source: of these; None: of all that were not opened.
        """
        keys = [
            key
            for key in (self.blueprint.groups_of if self.blueprint else ())
            if key not in self._opened and (source is None or key.source == source)
        ]
        return [entry for entry in map(self._open, keys) if not entry.missing]

    def _group(self, tensor: int) -> Incoming:
        """The group that a tensor belongs to, by its number in the plan."""
        if self.blueprint is None:
            raise errors.IncompleteResultError("the server sent a tensor before the plan")
        key, number = self.blueprint.find(tensor)
        self._open(key)
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
        made._opened = {}
        for entry in self.entries:
            array = None if entry.array is None else entry.array[rows]
            made._opened[entry.draft.key] = Entry(entry.draft, self._kept.memory, array)
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
        if self.blueprint is None:
            raise errors.IncompleteResultError("the run ended before it was accepted")
        self.blueprint.check()
        missing = [entry.name for entry in self.entries if entry.missing]
        if missing:
            raise errors.IncompleteResultError(
                f"the run ended with {self.received} of {self.blueprint.plan.total_bytes} bytes; "
                f"{', '.join(missing[:5])} {'is' if len(missing) == 1 else 'are'} incomplete"
            )
        if self.receipt is None:
            raise errors.IncompleteResultError("the run ended without a receipt")
        n_tensors = self.blueprint.n_tensors
        if (self.receipt.bytes, self.receipt.tensors) != (self.received, n_tensors):
            raise errors.IncompleteResultError(
                f"the receipt names {self.receipt.tensors} tensors and {self.receipt.bytes} bytes; "
                f"{n_tensors} tensors and {self.received} bytes arrived"
            )
