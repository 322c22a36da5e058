"""Where in the padded result the parts of each row belong.

A result is [batch, pos, …]. A row's own tokens stand somewhere in its padded row, and of the
positions that were asked for only some are the row's own: a `Placement` says which, for all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hookwire.ask.inputs import Batch
from hookwire.facts import selection


@dataclass(frozen=True)
class Placement:
    """Places along one axis of the result.

    Attributes:
        width: elements of the result's axis.
        rows: for each row, the places of what it sends, in the order in which it sends them; a
            range where they follow each other.
        whole: whether every row fills the whole axis in order.
    """

    width: int
    rows: Sequence[range | list[int]]
    whole: bool


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


@dataclass(frozen=True)
class Selected:
    """Positions to ask each row for, and where they belong.

    Attributes:
        local: for each row, its own positions, or None for all of them.
        placement: where they belong.
        columns: the padded positions that the result's axis stands for; None for all.
    """

    local: Sequence[tuple[int, ...] | None]
    placement: Placement
    columns: list[int] | None


def everything(batch: Batch) -> Placement:
    """All of each row's tokens, where they stand."""
    rows = [
        range(start, start + len(row)) for start, row in zip(batch.starts, batch.rows, strict=True)
    ]
    return Placement(batch.width, rows, whole=not batch.padded)


def dense(batch: Batch, count: int) -> Placement:
    """The same number of elements from each row."""
    return Placement(count, [range(count)] * len(batch), whole=True)


def next_tokens(batch: Batch) -> Placement:
    """One element for each token but the last, where the token stands."""
    rows = [
        range(start, start + len(row) - 1)
        for start, row in zip(batch.starts, batch.rows, strict=True)
    ]
    return Placement(batch.width - 1, rows, whole=not batch.padded)


def select(batch: Batch, pos_slice: object) -> Selected:
    """Positions of the padded rows, as `pos_slice` names them.

    Raises:
        PositionOutOfRangeError: one lies outside the padded row.
        BadSelectionError: nothing is selected, or something twice.
    """
    columns = selection.clipped(pos_slice, batch.width, "pos_slice")
    if columns is None:
        return Selected([None] * len(batch), everything(batch), None)
    if not batch.padded:
        return Selected([tuple(columns)] * len(batch), dense(batch, len(columns)), columns)
    local: list[tuple[int, ...]] = []
    places: list[range | list[int]] = []
    for start, row in zip(batch.starts, batch.rows, strict=True):
        own = [at for at, place in enumerate(columns) if start <= place < start + len(row)]
        local.append(tuple(columns[at] - start for at in own))
        follow = not own or own == list(range(own[0], own[-1] + 1))
        places.append(range(own[0], own[-1] + 1) if own and follow else own)
    placement = Placement(len(columns), places, whole=False)
    return Selected(local, placement, columns)
