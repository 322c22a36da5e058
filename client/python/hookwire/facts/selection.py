"""Which indices of an axis: from what users write to what the wire takes.

An index is None (the whole axis), an int, a list, tuple, range, slice, or an integer or boolean
array. Inside the package it is an `Index`: None, a tuple of ints, or a `Span`.
"""

from __future__ import annotations

import numbers
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hookwire import errors
from hookwire._proto import tensor_pb2 as pb
from hookwire.errors import wording
from hookwire.facts import dtypes

_INDEX = "an int, a list of ints or a slice"
# What the wire has room for.
_MOST = 2**63


@dataclass(frozen=True)
class Span:
    """`start:stop:step`, as in Python, but a bound that lies outside the axis is an error."""

    start: int | None = None
    stop: int | None = None
    step: int | None = None

    def __repr__(self) -> str:
        return f"slice({self.start}, {self.stop}, {self.step})"


Index = tuple[int, ...] | Span | None


def index(value: Any, what: str) -> Index:
    """The index that a user means.

    Args:
        value: None, int, list, tuple, range, slice, NumPy or torch array of ints or bools.
        what: the argument's name, for messages.

    Raises:
        BadSelectionError: nothing is selected, or something twice, or a step below 1.
        ArgumentTypeError: not an index.
    """
    if value is None or isinstance(value, Span):
        return value
    if isinstance(value, slice):
        parts = [
            None if x is None else integer(x, what, _INDEX)
            for x in (value.start, value.stop, value.step)
        ]
        if parts[2] is not None and parts[2] < 1:
            raise errors.BadSelectionError(f"{what}={value}: a step must be at least 1")
        return None if parts == [None, None, None] else Span(*parts)
    if isinstance(value, (list, tuple, range)):
        chosen = tuple(integer(x, what, _INDEX) for x in value)
    elif dtypes.is_torch(value) or isinstance(value, np.ndarray):
        array = dtypes.to_numpy(value)
        if array.dtype == bool and array.ndim == 1:
            array = np.flatnonzero(array)
        if array.dtype.kind not in "iu" or array.ndim > 1:
            raise errors.ArgumentTypeError(
                f"{what} must be integers along one axis, not {array.dtype} {array.shape}"
            )
        chosen = tuple(int(x) for x in array.reshape(-1))
    else:
        chosen = (integer(value, what, _INDEX),)
    if not chosen:
        raise errors.BadSelectionError(f"{what} selects nothing")
    if len(set(chosen)) != len(chosen):
        raise errors.BadSelectionError(f"{what}={list(chosen)} names an index twice")
    return chosen


def integer(value: Any, what: str, accepts: str = "an int") -> int:
    """An int, of Python, NumPy or torch; a bool is none.

    Args:
        value: what a user gives.
        what: the argument's name, for messages.
        accepts: what the argument takes, for messages.

    Raises:
        ArgumentTypeError: no int.
        BadSelectionError: one of more than 64 bits.
    """
    is_bool = isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")
    try:
        number = None if is_bool else operator.index(value)
    except (TypeError, RuntimeError):
        number = None
    if number is None:
        raise errors.ArgumentTypeError(f"{what} must be {accepts}, not {errors.shown(value)}")
    if not -_MOST <= number < _MOST:
        raise errors.BadSelectionError(f"{what}={errors.shown(number)} does not fit into 64 bits")
    return number


def one_of(value: Any, choices: Sequence[str | None], what: str) -> Any:
    """The value, which must be one of a few.

    Args:
        value: what a user gives.
        choices: strings, and None where that is one of them.
        what: the argument's name, for messages.

    Raises:
        ArgumentError: it is none of them.
    """
    if (value is None or isinstance(value, str)) and value in choices:
        return value
    named = [f'"{choice}"' if choice is not None else "None" for choice in choices]
    raise errors.ArgumentError(
        f"{what} must be {', '.join(named[:-1])} or {named[-1]}, not {errors.shown(value)}"
    )


def clipped(value: Any, size: int, what: str) -> list[int] | None:
    """Indices that count from 0, as NumPy and torch index: a slice is clipped to the axis.

    Args:
        value: as in `index`; a tuple is a slice here, as in TransformerLens: `(stop,)`,
            `(start, stop)` or `(start, stop, step)`, and its `Slice` stands for what it holds.
        size: elements of the axis.
        what: the argument's name, for messages.

    Returns:
        The indices, or None for the whole axis.

    Raises:
        PositionOutOfRangeError: an index outside the axis.
        BadSelectionError: nothing is selected, or something twice.
        ArgumentTypeError: not an index.
    """
    if hasattr(value, "slice") and hasattr(value, "mode"):  # TransformerLens's, or the cache's
        value = value.slice
        if isinstance(value, numbers.Integral):
            raise errors.ArgumentTypeError(
                f"{what}=Slice({value}) takes the axis away there, and tensors here keep it: pass "
                f"{what}={value}"
            )
    if isinstance(value, tuple):
        if not 1 <= len(value) <= 3:
            raise errors.ArgumentTypeError(
                f"{what} must be {_INDEX}, or a tuple (stop,), (start, stop) or (start, stop, "
                f"step), not {errors.shown(value)}"
            )
        value = slice(*value)
    chosen = index(value, what)
    if chosen is None:
        return None
    if isinstance(chosen, Span):
        found = list(range(size)[slice(chosen.start, chosen.stop, chosen.step)])
        if not found:
            raise errors.BadSelectionError(f"{what}={chosen} selects none of {size} positions")
        return found
    return resolve(chosen, size, what)


def resolve(chosen: tuple[int, ...] | Span, size: int, what: str) -> list[int]:
    """Indices that count from 0; every one, and each bound of a span, must lie in the axis.

    Raises:
        PositionOutOfRangeError: one does not.
        BadSelectionError: nothing is selected, or something twice.
    """
    if isinstance(chosen, Span):
        start = 0 if chosen.start is None else _bound(chosen.start, size, what)
        stop = size if chosen.stop is None else _bound(chosen.stop, size, what)
        found = list(range(start, stop, chosen.step or 1))
    else:
        found = [_wrap(x, size, what) for x in chosen]
        if len(set(found)) != len(found):
            raise errors.BadSelectionError(f"{what}={list(chosen)} names an index twice")
    if not found:
        raise errors.BadSelectionError(f"{what}={chosen} selects nothing of {size} positions")
    return found


def _wrap(position: int, size: int, what: str) -> int:
    if not -size <= position < size:
        raise errors.PositionOutOfRangeError(
            f"{what}={position} is outside the {wording.counted(size, 'position')}"
        )
    return position % size


def _bound(position: int, size: int, what: str) -> int:
    if not -size <= position <= size:
        raise errors.PositionOutOfRangeError(
            f"{what}={position} is outside the {wording.counted(size, 'position')}"
        )
    return position + size if position < 0 else position


def _outside(position: int, size: int, what: str) -> errors.PositionOutOfRangeError:
    return errors.PositionOutOfRangeError(
        f"{what}={position} is outside the {wording.counted(size, 'position')}"
    )


def write(selection: pb.Selection, chosen: Index | Iterable[int]) -> None:
    """Fills the wire's message; None leaves it absent, which is the whole axis."""
    if chosen is None:
        return
    if isinstance(chosen, Span):
        span = selection.range
        span.SetInParent()
        if chosen.start is not None:
            span.start = chosen.start
        if chosen.stop is not None:
            span.stop = chosen.stop
        if chosen.step is not None:
            span.step = chosen.step
    else:
        selection.indices.values.extend(chosen)
