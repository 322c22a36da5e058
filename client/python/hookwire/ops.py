"""Changes to make at a hook point, as values.

    from hookwire import ops
    model.run_with_hooks([clean, corrupted], fwd_hooks=[
        ("blocks.3.hook_resid_pre", ops.copy(from_row=0, row=1, pos=9)),
        ("blocks.*.attn.hook_pattern", ops.zero(head=2)),
    ])

An op is checked, and its value copied, when it is made: changing the array afterwards does not
change the op. Several ops at one hook point apply in the order in which they are given. What an op
does not select keeps its bits.

All ops choose where they apply with the same four arguments, and each defaults to everything:

    pos: positions: an int, a list, a range or a slice; negative counts from the end. In a padded
        batch they are positions of the padded rows, as the user sees them; one that falls on
        padding is an error. For scores and pattern: query positions.
    head: heads, at hook points that have any.
    feature: elements of the last axis (d_model, d_head, d_mlp, …). For scores and pattern: key
        positions.
    row: rows of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import ml_dtypes
import numpy as np

from hookwire import dtypes, errors, selection
from hookwire.selection import Index

_FLOATS = {np.dtype(t) for t in (np.float16, np.float32, np.float64, ml_dtypes.bfloat16)}


@dataclass(frozen=True)
class Tensor:
    """A frozen array of floating-point numbers.

    Attributes:
        dtype: "float32", "bfloat16", "float16" or "float64".
        shape: sizes of the axes, outermost first.
        data: the elements: little-endian, row-major.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    def array(self) -> dtypes.Array:
        """A read-only view as NumPy array."""
        dtype = dtypes.NUMPY[dtypes.number(self.dtype)]
        return np.frombuffer(self.data, dtype).reshape(self.shape)

    def __repr__(self) -> str:
        return f"<{self.dtype} {list(self.shape)}>"


Value = float | Tensor


def freeze(value: Any, what: str = "value") -> Value:
    """A number, or a frozen copy of a list, a NumPy array or a torch tensor.

    Integers become float32; floating-point types stay as they are.

    Args:
        value: of an op.
        what: the argument's name, for messages.

    Raises:
        ValueDtypeError: bools, complex numbers, strings, objects, numbers beyond float64.
        ValueShapeError: a list whose rows have different lengths.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise errors.ValueDtypeError(f"{what} is an int beyond float64") from None
    accepts = "a number, or a list, NumPy array or torch tensor of real numbers"
    if value is None or isinstance(value, (str, bytes, bool, complex)):
        raise errors.ValueDtypeError(f"{what} must be {accepts}, not {dtypes.shown(value)}")
    try:
        array = dtypes.to_numpy(value)
    except ValueError:
        raise errors.ValueShapeError(
            f"{what} must be {accepts}; the rows of this list have different lengths: "
            f"{dtypes.shown(value)}"
        ) from None
    if array.dtype.kind == "f":
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.dtype.kind in "iu" or (isinstance(value, (list, tuple)) and array.dtype.kind == "f"):
        array = array.astype(np.float32)
    if array.dtype not in _FLOATS:
        raise errors.ValueDtypeError(f"{what} must be {accepts}, not {dtypes.shown(value)}")
    return Tensor(array.dtype.name, array.shape, array.tobytes())


@dataclass(frozen=True, kw_only=True)
class Op:
    """Where a change applies. See the module's docstring for the arguments."""

    pos: Index = None
    head: Index = None
    feature: Index = None
    row: Index = None

    def __post_init__(self) -> None:
        for name in ("pos", "head", "feature", "row"):
            object.__setattr__(self, name, selection.index(getattr(self, name), name))

    def __repr__(self) -> str:
        shown = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if isinstance(value, tuple):
                value = value[0] if len(value) == 1 else list(value)
            shown.append(f"{field.name}={value!r}")
        # The value comes first, as in the call that made the op.
        shown.sort(key=lambda part: part.split("=")[0] not in ("value", "factor", "from_row"))
        return f"ops.{type(self).__name__.lower()}({', '.join(shown)})"


@dataclass(frozen=True, kw_only=True, repr=False)
class Set(Op):
    """x = value."""

    value: Value


@dataclass(frozen=True, kw_only=True, repr=False)
class Add(Op):
    """x = x + value."""

    value: Value


@dataclass(frozen=True, kw_only=True, repr=False)
class Scale(Op):
    """x = x × factor."""

    factor: Value


@dataclass(frozen=True, kw_only=True, repr=False)
class Zero(Op):
    """x = 0."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Copy(Op):
    """x = the same selection at the same hook point of another row."""

    from_row: int


def set(
    value: Any, *, pos: Any = None, head: Any = None, feature: Any = None, row: Any = None
) -> Set:
    """x = value.

    Args:
        value: a number, list, NumPy array or torch tensor that broadcasts, right-aligned, against
            the selected part of one row: `[pos, d_model]`, `[pos, head, d_head]`,
            `[head, pos, key_pos]`, …. With one axis more, of as many elements as rows are selected,
            each row gets its own. Rounded to the hook point's dtype.
        pos: positions; default all.
        head: heads; default all.
        feature: elements of the last axis; default all.
        row: rows of the batch; default all.

    Raises:
        ValueDtypeError: bools, complex numbers, strings, objects, numbers beyond float64.
        ValueShapeError: a list whose rows have different lengths.
    """
    return Set(value=freeze(value), pos=pos, head=head, feature=feature, row=row)


def add(
    value: Any, *, pos: Any = None, head: Any = None, feature: Any = None, row: Any = None
) -> Add:
    """x = x + value. Arguments as in `set`; a number is not rounded to the hook point's dtype."""
    return Add(value=freeze(value), pos=pos, head=head, feature=feature, row=row)


def scale(
    factor: Any, *, pos: Any = None, head: Any = None, feature: Any = None, row: Any = None
) -> Scale:
    """x = x × factor. Arguments as in `set`; a number is not rounded to the hook point's dtype."""
    return Scale(factor=freeze(factor, "factor"), pos=pos, head=head, feature=feature, row=row)


def zero(*, pos: Any = None, head: Any = None, feature: Any = None, row: Any = None) -> Zero:
    """x = 0. Arguments as in `set`."""
    return Zero(pos=pos, head=head, feature=feature, row=row)


def copy(
    from_row: int, *, pos: Any = None, head: Any = None, feature: Any = None, row: Any = None
) -> Copy:
    """x = what another row of the same run has there: patching without a round trip.

    Args:
        from_row: the row to copy from; negative counts from the end.
        pos: positions, in both rows; default all, and then both must have as many tokens.
        head: heads; default all.
        feature: elements of the last axis; default all.
        row: the rows to change; default all but `from_row`.
    """
    chosen = selection.integer(from_row, "from_row", "one row, an int")
    return Copy(from_row=chosen, pos=pos, head=head, feature=feature, row=row)
