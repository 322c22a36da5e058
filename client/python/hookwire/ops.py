"""Changes at a hook point, as plain data.

    from hookwire import ops
    model.run_with_hooks([clean, corrupted], fwd_hooks=[
        ("blocks.3.hook_resid_pre", ops.copy(from_row=0, row=1, pos=9)),
        ("blocks.*.attn.hook_pattern", ops.zero(head=2)),
    ])

An op checks its arguments and copies its value when it is made: if you change the array later, the
op does not change. Several ops at one hook point apply in the order in which you give them.
Elements that an op does not select keep their bits.

The same four arguments select where an op applies. By default, each selects everything:

    pos: positions: an int, a list, a range or a slice; negative counts from the end. In a padded
        batch they count in the padded rows; a position on padding is an error. For scores and
        pattern: query positions.
    head: heads, in the same forms. Only at hook points that have heads.
    feature: elements of the last axis (d_model, d_head, d_mlp, …), in the same forms. For scores
        and pattern: key positions.
    row: rows of the batch, in the same forms.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import ml_dtypes
import numpy as np

from hookwire import errors
from hookwire.errors import arguments
from hookwire.facts import dtypes, selection
from hookwire.facts.selection import Index

if TYPE_CHECKING:
    from hookwire._proto import run_pb2

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
        """Returns a read-only NumPy array of this shape and dtype, with the same memory."""
        dtype = dtypes.NUMPY[dtypes.number(self.dtype)]
        return np.frombuffer(self.data, dtype).reshape(self.shape)

    def __repr__(self) -> str:
        return f"<{self.dtype} {list(self.shape)}>"


Value = float | Tensor


def freeze(value: Any, what: str = "value") -> Value:
    """Returns a number, or a frozen copy of a list, a NumPy array or a torch tensor.

    Integers and lists become float32 (float64 if they have numbers beyond float32); floating-point
    arrays and tensors keep their type.

    Args:
        value: the value of an op, of any shape.
        what: the argument's name, for messages.

    Returns:
        A float, or a `Tensor` of the same shape.

    Raises:
        ValueDtypeError: bools, complex numbers, strings, objects, numbers beyond float64.
        ValueShapeError: a list whose rows have different lengths, or no elements.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise errors.ValueDtypeError(
                f"{what} is an int beyond float64, whose largest number is about 1.8e308"
            ) from None
    accepts = "a number, or a list, NumPy array or torch tensor of real numbers"
    if value is None or isinstance(value, (str, bytes, bool, complex)):
        raise errors.ValueDtypeError(f"{what} must be {accepts}, not {errors.shown(value)}")
    try:
        array = dtypes.to_numpy(value)
    except errors.ArgumentTypeError as error:
        raise errors.ValueDtypeError(f"{what} must be {accepts}: {error}") from error
    except ValueError:
        raise errors.ValueShapeError(
            f"{what} must be {accepts}; the rows of this list have different lengths: "
            f"{errors.shown(value)}"
        ) from None
    if array.dtype.kind == "f":
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.dtype.kind in "iu" or (isinstance(value, (list, tuple)) and array.dtype.kind == "f"):
        array = _as_float32(array)
    if array.dtype not in _FLOATS:
        raise errors.ValueDtypeError(
            f"{what} must be {accepts}, in float32, bfloat16, float16, float64 or integers, not "
            f"{errors.shown(value)}"
        )
    if array.size == 0:
        raise errors.ValueShapeError(
            f"{what} has no elements: its shape is {list(array.shape)}",
            metadata={"got": str(list(array.shape))},
        )
    return Tensor(array.dtype.name, array.shape, array.tobytes())


def _as_float32(array: dtypes.Array) -> dtypes.Array:
    """In float32, or in float64 where there are numbers beyond float32."""
    with np.errstate(over="ignore"):
        made = array.astype(np.float32)
    if array.dtype.kind == "f" and (np.isinf(made) & ~np.isinf(array)).any():
        return array.astype(np.float64)
    return made


@dataclass(frozen=True, kw_only=True)
class Op:
    """The base of all ops: where a change applies. `hookwire.ops` documents the arguments.

    A subclass defines the value that it sends (`sent`), the row that it reads (`source`), and how
    it is written to the request (`write`). Without `write` it cannot be used.
    """

    pos: Index = None
    head: Index = None
    feature: Index = None
    row: Index = None

    _shown_first: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for name in ("pos", "head", "feature", "row"):
            object.__setattr__(self, name, selection.index(getattr(self, name), name))

    @property
    def sent(self) -> Value | None:
        """The value that is sent to the server; None without one."""
        return None

    @property
    def source(self) -> int | None:
        """The row of the batch that is read but not changed; None without one."""
        return None

    def write(self, wire: run_pb2.Intervention, value: Value | None, source: int | None) -> None:
        """Writes the change into a message that already says where it applies.

        Args:
            wire: the message to fill.
            value: `sent`, or the part of it that belongs to the rows of this message.
            source: `source`, counted from 0.

        Raises:
            ArgumentTypeError: the op is of a class without `write`.
        """
        raise unknown(self)

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
        shown.sort(key=lambda part: part.split("=")[0] != self._shown_first)
        return f"ops.{type(self).__name__.lower()}({', '.join(shown)})"


def unknown(op: Op) -> errors.ArgumentTypeError:
    """Returns the error for an op of a class without `write`."""
    return errors.ArgumentTypeError(
        f"{type(op).__name__} cannot be sent as an op: use one that hookwire.ops makes, such as "
        "ops.set(value) or ops.zero()"
    )


@dataclass(frozen=True, kw_only=True, repr=False)
class _WithValue(Op):
    """An op with a value, which is checked and copied."""

    value: Value

    _shown_first = "value"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "value", freeze(self.value))

    @property
    def sent(self) -> Value:
        """The value."""
        return self.value


@dataclass(frozen=True, kw_only=True, repr=False)
class Set(_WithValue):
    """x = value."""

    def write(self, wire: run_pb2.Intervention, value: Value | None, source: int | None) -> None:
        """Writes the change into a message; see `Op.write`."""
        _write_value(wire.set.value, value)


@dataclass(frozen=True, kw_only=True, repr=False)
class Add(_WithValue):
    """x = x + value."""

    def write(self, wire: run_pb2.Intervention, value: Value | None, source: int | None) -> None:
        """Writes the change into a message; see `Op.write`."""
        _write_value(wire.add.value, value)


@dataclass(frozen=True, kw_only=True, repr=False)
class Scale(Op):
    """x = x × factor."""

    factor: Value

    _shown_first = "factor"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "factor", freeze(self.factor, "factor"))

    @property
    def sent(self) -> Value:
        """The factor."""
        return self.factor

    def write(self, wire: run_pb2.Intervention, value: Value | None, source: int | None) -> None:
        """Writes the change into a message; see `Op.write`."""
        _write_value(wire.scale.factor, value)


@dataclass(frozen=True, kw_only=True, repr=False)
class Zero(Op):
    """x = 0."""

    def write(self, wire: run_pb2.Intervention, value: Value | None, source: int | None) -> None:
        """Writes the change into a message; see `Op.write`."""
        wire.zero.SetInParent()


@dataclass(frozen=True, kw_only=True, repr=False)
class Copy(Op):
    """x = the same selection at the same hook point of another row."""

    from_row: int

    _shown_first = "from_row"

    def __post_init__(self) -> None:
        super().__post_init__()
        chosen = selection.integer(self.from_row, "from_row", "one row, an int")
        object.__setattr__(self, "from_row", chosen)

    @property
    def source(self) -> int:
        """The row to copy from."""
        return self.from_row

    def write(self, wire: run_pb2.Intervention, value: Value | None, source: int | None) -> None:
        """Writes the change into a message; see `Op.write`."""
        assert source is not None
        wire.copy.from_sequence = source


def _write_value(wire: Any, value: Value | None) -> None:
    if isinstance(value, Tensor):
        tensor = wire.tensor
        tensor.dtype = dtypes.number(value.dtype)
        tensor.shape.extend(value.shape)
        tensor.data = value.data
    else:
        assert value is not None
        wire.scalar = value


@arguments.checked("ops.set")
def set(
    value: Any, *, pos: Any = None, head: Any = None, feature: Any = None, row: Any = None
) -> Set:
    """Replaces the selected elements: x = value.

    Args:
        value: a number, list, NumPy array or torch tensor that broadcasts, right-aligned, against
            the selected part of one row: `[pos, d_model]`, `[pos, head, d_head]`,
            `[head, pos, key_pos]`, …. If it has one more axis, with an element for each selected
            row, each row gets its own value. It is rounded to the hook point's dtype.
        pos: positions; default all.
        head: heads; default all.
        feature: elements of the last axis; default all.
        row: rows of the batch; default all.

    Returns:
        The op.

    Raises:
        ValueDtypeError: bools, complex numbers, strings, objects, numbers beyond float64.
        ValueShapeError: a list whose rows have different lengths, or a value without elements.
        ArgumentTypeError, BadSelectionError: a selection that cannot be.
    """
    return Set(value=value, pos=pos, head=head, feature=feature, row=row)


@arguments.checked("ops.add")
def add(
    value: Any, *, pos: Any = None, head: Any = None, feature: Any = None, row: Any = None
) -> Add:
    """Adds a value: x = x + value.

    Args:
        value: as the value of `set`, but a number is not rounded to the hook point's dtype.
        pos: positions; default all.
        head: heads; default all.
        feature: elements of the last axis; default all.
        row: rows of the batch; default all.

    Returns:
        The op.

    Raises:
        ValueDtypeError, ValueShapeError, ArgumentTypeError, BadSelectionError: as in `set`.
    """
    return Add(value=value, pos=pos, head=head, feature=feature, row=row)


@arguments.checked("ops.scale")
def scale(
    factor: Any, *, pos: Any = None, head: Any = None, feature: Any = None, row: Any = None
) -> Scale:
    """Multiplies by a factor: x = x × factor.

    Args:
        factor: as the value of `set`, but a number is not rounded to the hook point's dtype.
        pos: positions; default all.
        head: heads; default all.
        feature: elements of the last axis; default all.
        row: rows of the batch; default all.

    Returns:
        The op.

    Raises:
        ValueDtypeError, ValueShapeError, ArgumentTypeError, BadSelectionError: as in `set`.
    """
    return Scale(factor=factor, pos=pos, head=head, feature=feature, row=row)


@arguments.checked("ops.zero")
def zero(*, pos: Any = None, head: Any = None, feature: Any = None, row: Any = None) -> Zero:
    """Sets the selected elements to zero: x = 0.

    Args:
        pos: positions; default all.
        head: heads; default all.
        feature: elements of the last axis; default all.
        row: rows of the batch; default all.

    Returns:
        The op.

    Raises:
        ArgumentTypeError, BadSelectionError: a selection that cannot be.
    """
    return Zero(pos=pos, head=head, feature=feature, row=row)


@arguments.checked("ops.copy")
def copy(
    from_row: int, *, pos: Any = None, head: Any = None, feature: Any = None, row: Any = None
) -> Copy:
    """Copies the same elements from another row of the run. Nothing is sent to the client.

    Args:
        from_row: the row to copy from; negative counts from the end.
        pos: positions, the same in both rows; default all, and both rows must then have the same
            length.
        head: heads; default all.
        feature: elements of the last axis; default all.
        row: the rows to change; default all but `from_row`.

    Returns:
        The op.

    Raises:
        ArgumentTypeError, BadSelectionError: a selection that cannot be.
    """
    return Copy(from_row=from_row, pos=pos, head=head, feature=feature, row=row)
