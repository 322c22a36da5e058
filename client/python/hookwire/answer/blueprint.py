"""What the plan of a run says: which arrays the run returns, and where the bytes of each tensor go.

The plan of 60 rows and all hook points has tens of thousands of tensors, and the server computes
while the client reads it. So a hook point's tensors are looked at when the first of them comes: the
work before the first tensor of a run does not grow with the number of tensors. Runs of one shape
have one plan, so a model keeps what it has worked out about the latest ones.
"""

from __future__ import annotations

import itertools
import math
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hookwire import errors
from hookwire._proto import run_pb2
from hookwire.answer.layouts import Destinations, Frame, Layout, Layouts
from hookwire.ask.placement import Placement, Places
from hookwire.facts import dtypes
from hookwire.facts.catalogue import KEY_POSITION, POSITION

_Group = run_pb2.TensorGroup
OUTPUTS: dict[int, str] = {
    _Group.SOURCE_LOGITS: "logits",
    _Group.SOURCE_LOG_PROBS: "log_probs",
    _Group.SOURCE_RESIDUAL: "residual",
}
"""The names of outputs, by their source."""
# Of plans that a model keeps, and of one that is worth it, in bytes on the wire.
_KEPT = 8
_KEPT_BYTES = 2**20


class Key(NamedTuple):
    """What the tensors of one array have in common."""

    source: int
    hook: str
    intervention: int


class Part(NamedTuple):
    """A group of the plan.

    Attributes:
        number: of the group.
        first: the number of its first tensor.
        places: where its tensors go.
    """

    number: int
    first: int
    places: Destinations


@dataclass(frozen=True, eq=False)
class Draft:
    """One hook point's (or output's) array, before there is any.

    Attributes:
        key: of the array.
        name: canonical name of the hook point, or "logits", "log_probs", "residual".
        is_output: which of the two.
        names: the names under which it is returned.
        dtype: the wire's number.
        frame: the axes of the result.
        callback: the number of the intervention whose function is to see it; None for results.
        parts: the groups of the plan that it is made of.
        n_filled: how many of its tensors are not empty.
        sent_bytes: that travel for it: without padding.
    """

    key: Key = field(repr=False)
    name: str
    is_output: bool
    names: tuple[str, ...]
    dtype: int
    frame: Frame = field(repr=False)
    callback: int | None
    parts: tuple[Part, ...] = field(repr=False)
    n_filled: int
    sent_bytes: int

    @property
    def tensors(self) -> list[int]:
        """The tensors that it is made of: their numbers in the plan."""
        numbers = (range(first, first + len(places.sizes)) for _, first, places in self.parts)
        return list(itertools.chain.from_iterable(numbers))


class Blueprint:
    """A plan, and what was worked out about it.

    Safe to use from several threads: what two work out at the same time is the same.

    Args:
        plan: of the server.
        places: where the parts of each row belong.
        names: for hook points of which only some names are to be returned: these.

    Attributes:
        plan: as above.
        n_tensors: that will come.
        groups_of: the numbers of the groups of each array, in the order of the pass.
    """

    def __init__(self, plan: run_pb2.Plan, places: Places, names: dict[str, list[str]]) -> None:
        self.plan = plan
        self.n_tensors = 0
        self.groups_of: dict[Key, list[int]] = {}
        self._places = places
        self._names = names
        self._layouts = Layouts()
        # By the number of the group.
        self._keys: list[Key] = []
        self._firsts: list[int] = []
        self._drafts: dict[Key, Draft] = {}
        self._sent_bytes: dict[Key, int] | None = None
        self._complete_rows: set[tuple[object, ...]] = set()
        self._is_checked = False
        for number, group in enumerate(plan.groups):
            key = Key(group.source, group.hook, group.intervention)
            self.groups_of.setdefault(key, []).append(number)
            self._keys.append(key)
            self._firsts.append(self.n_tensors)
            self.n_tensors += len(group.tensors)

    def find(self, tensor: int) -> tuple[Key, int]:
        """The array that a tensor belongs to, and the number of its group.

        Raises:
            IncompleteResultError: the plan has no such tensor.
        """
        if tensor >= self.n_tensors:
            raise errors.IncompleteResultError(f"the server sent tensor {tensor}, not planned")
        number = bisect_right(self._firsts, tensor) - 1
        return self._keys[number], number

    def draft(self, key: Key) -> Draft:
        """What is known of an array.

        Raises:
            IncompleteResultError: the plan contradicts itself or the request.
        """
        draft = self._drafts.get(key)
        if draft is None:
            draft = self._drafts[key] = self._draft(key)
        return draft

    @property
    def sent_bytes(self) -> dict[Key, int]:
        """Bytes that travel, of each array, in the order of the pass; no draft is made for them."""
        if self._sent_bytes is None:
            self._sent_bytes = {
                key: sum(self._group_bytes(self.plan.groups[number]) for number in numbers)
                for key, numbers in self.groups_of.items()
            }
        return self._sent_bytes

    def check(self) -> None:
        """Whether the plan has everything that was asked for.

        Raises:
            IncompleteResultError: it has not, or it contradicts itself.
        """
        if self._is_checked:
            return
        total = sum(self.draft(key).sent_bytes for key in self.groups_of)
        if total != self.plan.total_bytes:
            raise errors.IncompleteResultError(
                f"the plan announces {self.plan.total_bytes} bytes, but its tensors have {total}"
            )
        planned = {OUTPUTS.get(key.source) for key in self.groups_of}
        absent = [name for name in self._places.outputs if name not in planned]
        asked = {number for group in self.plan.groups for number in group.captures}
        absent += [hook for at, hook in enumerate(self._places.hooks) if at not in asked]
        if absent:
            raise errors.IncompleteResultError(f"the server plans nothing for {', '.join(absent)}")
        self._is_checked = True

    def _group_bytes(self, group: run_pb2.TensorGroup) -> int:
        # A size is 0 where it differs from row to row.
        elements = math.prod(axis.size for axis in group.axes) * len(group.tensors)
        return (elements or self._layouts.read(group).elements) * _itemsize(group)

    def _draft(self, key: Key) -> Draft:
        numbers = self.groups_of[key]
        groups = [self.plan.groups[number] for number in numbers]
        name = OUTPUTS.get(key.source) or key.hook
        frame = self._frame(key, groups[0])
        layouts = [self._layouts.read(group) for group in groups]
        parts = tuple(
            Part(number, self._firsts[number], self._layouts.place(layout, frame, name))
            for number, layout in zip(numbers, layouts, strict=True)
        )
        self._check_rows(name, frame, layouts)
        names = self._names.get(key.hook)
        if not names:
            names = [each for group in groups for each in (list(group.names) or [name])]
        return Draft(
            key=key,
            name=name,
            is_output=key.source in OUTPUTS,
            names=tuple(dict.fromkeys(names)),
            dtype=groups[0].dtype,
            frame=frame,
            callback=key.intervention if key.source == _Group.SOURCE_CALLBACK else None,
            parts=parts,
            n_filled=sum(len(part.places.sizes) - part.places.sizes.count(0) for part in parts),
            sent_bytes=sum(layout.elements for layout in layouts) * frame.itemsize,
        )

    def _frame(self, key: Key, group: run_pb2.TensorGroup) -> Frame:
        places = self._places
        if group.dtype not in dtypes.NUMPY:
            raise errors.IncompleteResultError(
                f"the server sends {key.hook or key.source} in a dtype that this client does "
                f"not know ({group.dtype})"
            )
        output = OUTPUTS.get(key.source)
        if key.source == _Group.SOURCE_CALLBACK:
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
        return Frame(tuple(kinds), tuple(sizes), _itemsize(group), along, places.keys)

    def _check_rows(self, name: str, frame: Frame, layouts: Sequence[Layout]) -> None:
        """Every row that has something at a hook point must send it."""
        has_positions = POSITION in frame.kinds
        alike = (has_positions, id(frame.along), *map(id, layouts))
        if alike in self._complete_rows:
            return
        rows = {row for layout in layouts for row in layout.rows}
        for row in range(self._places.batch):
            if row not in rows and (not has_positions or len(frame.along.rows[row])):
                raise errors.IncompleteResultError(f"the server plans {name} without row {row}")
        self._complete_rows.add(alike)


class Blueprints:
    """The latest blueprints of a model. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By the plan's bytes, the latest last; with what they were made for besides.
        self._kept: OrderedDict[bytes, tuple[Places, dict[str, list[str]], Blueprint]] = (
            OrderedDict()
        )

    def get(self, plan: run_pb2.Plan, places: Places, names: dict[str, list[str]]) -> Blueprint:
        """The blueprint of a plan; an earlier run's, where that had the same plan."""
        key = plan.SerializeToString()
        if len(key) > _KEPT_BYTES:
            return Blueprint(plan, places, names)
        with self._lock:
            kept = self._kept.pop(key, None)
            if kept is None or kept[:2] != (places, names):
                kept = (places, names, Blueprint(plan, places, names))
            self._kept[key] = kept
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return kept[2]


def _itemsize(group: run_pb2.TensorGroup) -> int:
    dtype = dtypes.NUMPY.get(group.dtype)
    return dtype.itemsize if dtype else 0
