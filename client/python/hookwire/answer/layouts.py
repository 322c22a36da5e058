"""Which rows a group of the plan sends, in which shapes, and where their bytes belong.

A run of many rows plans a tensor for each row of each hook point, and nearly all hook points plan
the same ones. So what is worked out about a group's tensors is worked out once for all groups that
are alike, and kept in lists: there is no object for each tensor.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from itertools import accumulate

from hookwire import errors
from hookwire._proto import run_pb2
from hookwire.ask.placement import Placement
from hookwire.facts.catalogue import KEY_POSITION, POSITION

# Fields of a group that say nothing about its tensors.
_OTHERS = [field.name for field in run_pb2.TensorGroup.DESCRIPTOR.fields if field.name != "tensors"]

Where = tuple["slice | list[int]", ...]
"""An index into a row of the result, axis by axis."""


@dataclass(frozen=True, eq=False)
class Layout:
    """The tensors that a group plans.

    Attributes:
        rows: each one's row.
        shapes: each one's shape.
        elements: of all of them together.
    """

    rows: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    elements: int


@dataclass(frozen=True, eq=False)
class Destinations:
    """Where the bytes of a group's tensors belong in their array.

    Attributes:
        rows: each tensor's row.
        sizes: each tensor's bytes.
        starts: the byte of the array at which a tensor begins, where it is one piece of the array;
            -1 where it is not.
        where: each tensor's place in its row, as an index.
        shapes: each tensor's shape.
        total: bytes of all tensors.
        is_solid: whether the tensors are one piece of the array, one after another.
    """

    rows: tuple[int, ...]
    sizes: list[int]
    starts: list[int]
    where: list[Where]
    shapes: tuple[tuple[int, ...], ...]
    total: int
    is_solid: bool


@dataclass(frozen=True, eq=False)
class Frame:
    """An array that rows are put into.

    Attributes:
        kinds: of one row's axes.
        sizes: of all axes, the batch first.
        itemsize: bytes of an element.
        along: places along the positions.
        keys: places along key positions.
    """

    kinds: tuple[int, ...]
    sizes: tuple[int, ...]
    itemsize: int
    along: Placement
    keys: Placement

    @property
    def is_whole(self) -> bool:
        """Whether the rows fill all of it, in order."""
        return self.along.whole and (KEY_POSITION not in self.kinds or self.keys.whole)

    def shape(self, row: int) -> tuple[int, ...]:
        """Of what a row sends."""
        sizes = list(self.sizes[1:])
        for axis, kind in enumerate(self.kinds):
            if kind == POSITION:
                sizes[axis] = len(self.along.rows[row])
            elif kind == KEY_POSITION:
                sizes[axis] = len(self.keys.rows[row])
        return tuple(sizes)

    def where(self, row: int) -> Where:
        """Where in its row of the array the tensor belongs."""
        where: list[slice | list[int]] = []
        for kind in self.kinds:
            if kind not in (POSITION, KEY_POSITION):
                where.append(slice(None))
                continue
            places = (self.along if kind == POSITION else self.keys).rows[row]
            if isinstance(places, range):
                where.append(slice(places.start, places.stop))
            else:
                where.append(places)
        return tuple(where)

    def start(self, row: int, where: Where) -> int:
        """The byte at which the tensor begins, where it is one piece of the array; else -1."""
        stride, start, is_cut = self.itemsize, 0, False
        for size, places in zip(reversed(self.sizes[1:]), reversed(where), strict=True):
            if isinstance(places, list):
                return -1
            first, end, _ = places.indices(size)
            # Of [4, 8], the part [:2, :3] has a gap behind each 3 elements; [1, :3] has none.
            if is_cut and end - first != 1:
                return -1
            is_cut = is_cut or end - first != size
            start += first * stride
            stride *= size
        return row * stride + start


class Layouts:
    """Works out what groups plan, once for those that are alike."""

    def __init__(self) -> None:
        self._read: dict[bytes, Layout] = {}
        self._placed: dict[tuple[object, ...], Destinations] = {}

    def read(self, group: run_pb2.TensorGroup) -> Layout:
        """The tensors of a group."""
        alone = run_pb2.TensorGroup.FromString(group.SerializeToString())
        for name in _OTHERS:
            alone.ClearField(name)
        key = alone.SerializeToString()
        layout = self._read.get(key)
        if layout is None:
            shapes = tuple(tuple(planned.shape) for planned in group.tensors)
            layout = self._read[key] = Layout(
                tuple(planned.sequence for planned in group.tensors),
                shapes,
                sum(map(math.prod, shapes)),
            )
        return layout

    def place(self, layout: Layout, frame: Frame, name: str) -> Destinations:
        """Where the tensors of a layout belong.

        Args:
            layout: of the group.
            frame: the array.
            name: of the hook point or output, for the message.

        Raises:
            IncompleteResultError: a tensor is not what was asked for.
        """
        # Placements live as long as the run, so their numbers stay theirs.
        key = (id(layout), frame.kinds, frame.sizes, frame.itemsize, id(frame.along))
        found = self._placed.get(key)
        if found is None:
            found = self._placed[key] = _place(layout, frame, name)
        return found


def _place(layout: Layout, frame: Frame, name: str) -> Destinations:
    batch = frame.sizes[0]
    for row, shape in zip(layout.rows, layout.shapes, strict=True):
        expected = frame.shape(row) if row < batch else None
        if shape != expected:
            raise errors.IncompleteResultError(
                f"the server plans {list(shape)} for row {row} of {name}; {expected} was asked for"
            )
    where = [frame.where(row) for row in layout.rows]
    starts = [frame.start(row, at) for row, at in zip(layout.rows, where, strict=True)]
    sizes = [math.prod(shape) * frame.itemsize for shape in layout.shapes]
    after = accumulate(sizes, initial=starts[0] if starts else 0)
    is_solid = -1 not in starts and all(map(operator.eq, starts, after))
    return Destinations(layout.rows, sizes, starts, where, layout.shapes, sum(sizes), is_solid)
