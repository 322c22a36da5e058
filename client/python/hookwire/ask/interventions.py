"""Ops to the wire: which rows, which positions of each, which part of the value.

Users count positions in the padded rows that they gave; the wire knows each row's own tokens only.
Without padding one message says it for all rows. With padding, and where a value has its own part
for each row, an op becomes one message a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from hookwire import errors, ops
from hookwire._proto import run_pb2
from hookwire.ask import hooks
from hookwire.ask.hooks import Callback
from hookwire.ask.inputs import Batch
from hookwire.ask.reach import Reach
from hookwire.errors import arguments, wording
from hookwire.facts import selection
from hookwire.facts.catalogue import (
    KEY_POSITION,
    POSITION,
    Catalogue,
    HookPoint,
    full_name,
    is_glob,
    is_place,
    is_short,
)

Hooks = Iterable[tuple[Any, hooks.Change]]


def write(
    spec: run_pb2.RunSpec, given: Hooks, batch: Batch, reach: Reach
) -> tuple[dict[int, Callback], list[int]]:
    """Adds the interventions to a run, in the order in which they are given.

    Args:
        spec: the run.
        given: pairs of where (a name, alias or glob, a list of them, or a function of a name) and
            what (an op of `hookwire.ops`, or a function).
        batch: the run's input.
        reach: of the run: what it does not come to is left out of globs and functions of a name.

    Returns:
        The functions among them, by the number of their intervention in the run; and of each
        intervention, which of the given it comes from.

    Raises:
        ArgumentTypeError: no place.
        GlobNoMatchError: a function of names that matches nothing, or an empty list.
        NeverFiresError: the run does not come to any of the hook points.
        RowOutOfRangeError, PositionOutOfRangeError, BadSelectionError, ValueShapeError: the op does
            not fit the batch.
    """
    functions: dict[int, Callback] = {}
    origins: list[int] = []
    for number, (where, what) in enumerate(given):
        for hook in names_of(where, reach, expand=isinstance(what, Callback)):
            if isinstance(what, Callback):
                functions[len(spec.interventions)] = what
                point = reach.catalogue().get(hook)
                wire = spec.interventions.add(hook=hook)
                # Where nothing can be written a function may look, as in TransformerLens.
                is_writable = point is None or point.writable
                wire.callback.read_only = what.read_only or not is_writable
            else:
                _write_one(spec, hook, what, batch, reach.catalogue)
        origins += [number] * (len(spec.interventions) - len(origins))
    return functions, origins


def names_of(where: Any, reach: Reach, *, expand: bool) -> list[str]:
    """The hook points that a hook is for.

    Args:
        where: a name, alias or glob, a short name with its layer, a list of them, or a function of
            a name.
        reach: of the run.
        expand: make names of a glob, wherever the run goes; otherwise the server may do so.

    Raises:
        GlobNoMatchError: a function that matches nothing, or an empty list.
        HookNotFoundError: an empty name; the server refuses others that it does not have.
        NeverFiresError: the run does not come to any of them.
        ArgumentTypeError: another kind of place.
    """
    if is_short(where):
        where = full_name(where, reach.catalogue())
    if isinstance(where, (list, tuple)) and all(map(is_place, where)):
        if not where:
            raise errors.GlobNoMatchError("a hook has an empty list of hook points")
        return [name for one in where for name in names_of(one, reach, expand=expand)]
    catalogue = reach.catalogue
    if isinstance(where, str):
        if not where.strip():
            raise errors.HookNotFoundError(
                'a hook has an empty name: it takes a name such as "blocks.0.hook_resid_pre", or a '
                'glob such as "blocks.*.hook_resid_pre"',
                metadata={"hook": ""},
            )
        matched = []
        if is_glob(where) and (expand or reach.is_limited):
            matched = catalogue().match(where)
        if not matched:  # a name, or a glob of which the server says why it matches nothing
            if reach.start is not None:
                reach.check(where)
            return [where]
        return [names[0] for names in reach.kept(matched, repr(where)).values()]
    if callable(where):
        arguments.check_callable(where, "a hook's place", "a function of a name", "")
        # As in TransformerLens, a place that matches under several names is changed once.
        matched = [name for name in catalogue() if where(name)]
        if not matched:
            raise errors.GlobNoMatchError("a hook's function matches none of the hook points")
        return [names[0] for names in reach.kept(matched, "a hook's function").values()]
    raise errors.ArgumentTypeError(
        'a hook point is a name, a glob, a short name such as ("resid_post", 3), a list of these, '
        f"or a function of a name, not {errors.shown(where)}"
    )


def _write_one(
    spec: run_pb2.RunSpec,
    hook: str,
    op: ops.Op,
    batch: Batch,
    catalogue: Callable[[], Catalogue],
) -> None:
    rows = _rows(op, batch)
    value = op.sent
    if _is_plain(op, value, batch):
        _Message(spec, hook, op, batch, rows).write(value)
        return
    for name in _expand(hook, catalogue()):
        point = catalogue().get(name)
        if point is None:
            # The server knows why, and what is meant.
            _Message(spec, name, op, batch, rows).write(value)
            continue
        changed = range(len(batch)) if rows is None else rows
        values = _split(value, point, len(changed), name if is_glob(hook) else hook)
        if not batch.padded and len(values) == 1:
            _Message(spec, name, op, batch, rows).write(values[0])
            continue
        for number, row in enumerate(changed):
            part = values[number if len(values) > 1 else 0]
            _Message(spec, name, op, batch, [row]).write_row(row, part, point)


def _is_plain(op: ops.Op, value: ops.Value | None, batch: Batch) -> bool:
    """Whether one message says the same for every row, whatever the hook point's axes."""
    if batch.padded and (op.pos is not None or op.feature is not None):
        return False
    if not isinstance(value, ops.Tensor) or not value.shape:
        return True
    return not batch.padded and len(value.shape) == 1


def _rows(op: ops.Op, batch: Batch) -> list[int] | None:
    """The rows to change, or None for all."""
    if op.row is None:
        if op.source is None:
            return None
        source = batch.row(op.source, "from_row")
        rows = [row for row in range(len(batch)) if row != source]
        if not rows:
            raise errors.BadSelectionError(f"{op}: the batch has no other row to copy to")
        return rows
    if isinstance(op.row, tuple):
        rows = [batch.row(row, "row") for row in op.row]
        if len(set(rows)) != len(rows):
            raise errors.BadSelectionError(f"row={list(op.row)} names a row twice")
        return rows
    rows = list(range(len(batch)))[slice(op.row.start, op.row.stop, op.row.step)]
    if not rows:
        raise errors.BadSelectionError(f"row={op.row} selects none of {len(batch)} rows")
    return rows


def _expand(hook: str, catalogue: Catalogue) -> list[str]:
    """The canonical names behind a glob; whatever else stays as it is."""
    if not is_glob(hook):
        return [hook]
    points = catalogue.by_name()
    return list(dict.fromkeys(points[name].name for name in catalogue.match(hook))) or [hook]


def _split(
    value: ops.Value | None, point: HookPoint, count: int, name: str
) -> list[ops.Value | None]:
    """Each of `count` rows' own value, or one for all of them; `name` is for the message."""
    rank = len(point.axes)
    if not isinstance(value, ops.Tensor) or len(value.shape) <= rank:
        return [value]
    parts = value.shape[0]
    if len(value.shape) > rank + 1 or parts not in (1, count):
        raise errors.ValueShapeError(
            f"a value of shape {list(value.shape)} does not fit "
            f"{wording.counted(count, 'row')} of {name}, whose axes are "
            f"{[axis.name for axis in point.axes]} after the batch",
            metadata={"hook": point.name, "got": str(list(value.shape))},
        )
    size = len(value.data) // parts
    return [
        ops.Tensor(value.dtype, value.shape[1:], value.data[at * size : (at + 1) * size])
        for at in range(parts)
    ]


class _Message:
    """Writes one `Intervention`."""

    def __init__(
        self,
        spec: run_pb2.RunSpec,
        hook: str,
        op: ops.Op,
        batch: Batch,
        rows: Sequence[int] | None,
    ) -> None:
        self._op = op
        self._batch = batch
        self._wire = wire = spec.interventions.add(hook=hook)
        self._source = None if op.source is None else batch.row(op.source, "from_row")
        if rows is not None:
            wire.sequences.extend(rows)
        if op.head is not None:
            selection.write(wire.heads, op.head)

    def write(self, value: ops.Value | None) -> None:
        """The op as it is."""
        op, wire = self._op, self._wire
        if op.pos is not None:
            selection.write(wire.positions, op.pos)
        if op.feature is not None:
            selection.write(wire.features, op.feature)
        self._write_op(value)

    def write_row(self, row: int, value: ops.Value | None, point: HookPoint) -> None:
        """The op for one row, with positions counted in that row's own tokens."""
        op, wire = self._op, self._wire
        source = self._source
        positions = self._local(op.pos, row, source, "pos")
        if positions is not None:
            selection.write(wire.positions, positions)
        keys = point.axis(KEY_POSITION)
        if keys is None:
            if op.feature is not None:
                selection.write(wire.features, op.feature)
        else:
            features = self._local(op.feature, row, source, "feature")
            if features is not None:
                selection.write(wire.features, features)
        if self._batch.padded and isinstance(value, ops.Tensor):
            value = self._without_padding(value, point, row)
        self._write_op(value)

    def _local(
        self, chosen: selection.Index, row: int, source: int | None, what: str
    ) -> selection.Index:
        """Positions of the padded row, counted from the row's own first token."""
        batch = self._batch
        if chosen is None or not batch.padded:
            return chosen
        places = selection.resolve(chosen, batch.width, what)
        local = self._shifted(places, row, what)
        if source is None:
            return local
        # The wire has one list of positions for both rows: it must mean the same place in both.
        other = self._shifted(places, source, what)
        if other == local:
            return local
        length, length_other = len(batch.rows[row]), len(batch.rows[source])
        from_end = tuple(place - length for place in local)
        if from_end == tuple(place - length_other for place in other):
            return from_end
        raise errors.UnsupportedError(
            f"{self._op}: rows {source} and {row} are padded on different sides, so the same "
            "positions of both cannot be named in one copy"
        )

    def _shifted(self, places: Sequence[int], row: int, what: str) -> tuple[int, ...]:
        start, length = self._batch.starts[row], len(self._batch.rows[row])
        for place in places:
            if not start <= place < start + length:
                raise errors.PositionOutOfRangeError(
                    f"{self._op}: {what} {place} falls on the padding of row {row}, whose tokens "
                    f"are at {start} to {start + length - 1}"
                )
        return tuple(place - start for place in places)

    def _without_padding(self, value: ops.Tensor, point: HookPoint, row: int) -> ops.Tensor:
        """The part of the value that belongs to the row's own tokens."""
        op, batch = self._op, self._batch
        array = value.array()
        places = [slice(None)] * array.ndim
        start = batch.starts[row]
        for kind, chosen in ((POSITION, op.pos), (KEY_POSITION, op.feature)):
            axis = point.axis(kind)
            if axis is None or chosen is not None:
                continue
            # Right-aligned, as it will broadcast.
            at = axis - len(point.axes) + array.ndim
            if at >= 0 and array.shape[at] == batch.width:
                places[at] = slice(start, start + len(batch.rows[row]))
        part = np.ascontiguousarray(array[tuple(places)])
        return ops.Tensor(value.dtype, part.shape, part.tobytes())

    def _write_op(self, value: ops.Value | None) -> None:
        self._op.write(self._wire, value, self._source)
        if self._wire.WhichOneof("op") is None:
            raise ops.unknown(self._op)
