"""TransformerLens's slices: what `pos_slice`, `batch_slice` and `neuron_slice` may be."""

from __future__ import annotations

import operator
from typing import Any, Literal

import numpy as np

from hookwire import errors
from hookwire.errors import arguments, wording
from hookwire.facts import dtypes

Mode = Literal["identity", "int", "slice", "array"]


@arguments.checked_methods("slice", "__init__")
class Slice:
    """Some indices of one axis.

    Args:
        input_slice: None for all; an int for one index, which removes the axis; a tuple of one to
            three ints, or a slice, for a range; a list, an array or a tensor of indices or of
            bools; or another `Slice`, TransformerLens's own included.
        what: the name of the argument, for messages.

    Attributes:
        slice: the index of the axis.
        mode: "identity", "int", "slice" or "array".

    Raises:
        ArgumentError: anything else (it is a ValueError).
    """

    slice: Any
    mode: Mode

    def __init__(self, input_slice: Any = None, what: str = "") -> None:
        self._what = what or str(getattr(input_slice, "_what", "")) or "slice"
        if hasattr(input_slice, "slice") and hasattr(input_slice, "mode"):
            # TransformerLens's own type calls its modes by the same names.
            self.slice, self.mode = input_slice.slice, input_slice.mode
        elif input_slice is None:
            self.slice, self.mode = slice(None), "identity"
        elif isinstance(input_slice, slice):
            self.slice, self.mode = self._range(input_slice, input_slice), "slice"
        elif isinstance(input_slice, tuple) and 1 <= len(input_slice) <= 3:
            self.slice, self.mode = self._range(slice(*input_slice), input_slice), "slice"
        elif (number := _whole_number(input_slice)) is not None:
            self.slice, self.mode = number, "int"
        elif isinstance(input_slice, (list, np.ndarray)) or dtypes.is_torch(input_slice):
            self.slice, self.mode = self._array(input_slice), "array"
        else:
            raise self._no_slice(input_slice)

    def _no_slice(self, given: Any) -> errors.ArgumentError:
        return errors.ArgumentError(
            f"{self._what} is an int, a range as (start, stop) or a slice, or a list or an array "
            f"of indices, and {errors.shown(given)} is not a slice"
        )

    def _range(self, chosen: slice, given: Any) -> slice:
        bounds = (chosen.start, chosen.stop, chosen.step)
        if any(bound is not None and _whole_number(bound) is None for bound in bounds):
            raise self._no_slice(given)
        if chosen.step == 0:
            raise errors.ArgumentError(f"{self._what}={given!r}: a step cannot be 0")
        return chosen

    def _array(self, given: Any) -> Any:
        try:
            array = dtypes.to_numpy(given)
        except ValueError:  # a list with rows of different lengths
            raise self._no_slice(given) from None
        if not array.size and array.dtype.kind == "f":
            array = array.astype(np.int64)  # NumPy takes an empty list for floats
        if array.ndim != 1 or array.dtype.kind not in "iub":
            raise self._no_slice(given)
        return array

    @classmethod
    def unwrap(cls, input_slice: Any, what: str = "") -> Slice:
        """Returns the `Slice`, with an int as a list of one, so that its axis stays.

        Args:
            input_slice: as in `Slice`.
            what: the name of the argument, for messages.
        """
        made = cls(input_slice, what)
        return cls([made.slice], made._what) if made.mode == "int" else made

    def apply(self, tensor: Any, dim: int = 0) -> Any:
        """Returns the selected part of a tensor or an array.

        Args:
            tensor: of any shape.
            dim: the axis; negative counts from the last.

        Raises:
            SliceOutOfRangeError: an index that the axis does not have (it is an IndexError).
            ArgumentError: a step below 0, which torch does not have.
        """
        if self.mode == "identity":
            return tensor
        index: list[Any] = [slice(None)] * tensor.ndim
        index[dim] = self.slice
        try:
            return tensor[tuple(index)]
        except IndexError:
            raise self._outside(tensor.shape[dim]) from None
        except ValueError:
            raise errors.ArgumentError(
                f"{self._what}={self.slice!r}: torch has no step below 0"
            ) from None

    def indices(self, max_ctx: int | None = None) -> Any:
        """Returns the selected indices of an axis, int64 [index].

        Args:
            max_ctx: the size of the axis. Only the slice of an int does not need it.

        Raises:
            ArgumentError: `max_ctx` is needed and not given.
            SliceOutOfRangeError: as in `apply`.
        """
        if self.mode == "int":
            return np.array([self.slice])
        if max_ctx is None:
            raise errors.ArgumentError(
                f"max_ctx is needed: how many indices {self!r} has depends on the axis"
            )
        try:
            return np.arange(max_ctx)[self.slice]
        except IndexError:
            raise self._outside(max_ctx) from None

    def _outside(self, size: int) -> errors.SliceOutOfRangeError:
        """The error for a choice that an axis of this size does not have."""
        things = wording.counted(size, _ELEMENTS.get(self._what, "element"))
        chosen = self.slice.tolist() if self.mode == "array" else self.slice
        if self.mode == "array" and self.slice.dtype == bool:
            said = f" has {len(chosen)} booleans for {things}"
        else:
            said = f"={errors.shown(chosen)} is outside the {things}"
        return errors.SliceOutOfRangeError(f"{self._what}{said}")

    def __repr__(self) -> str:
        return f"Slice({self.slice!r}, {self.mode!r})"


# What an argument chooses from.
_ELEMENTS = {
    "pos_slice": "position",
    "positions": "position",
    "batch_slice": "row",
    "neuron_slice": "neuron",
}


def _whole_number(value: Any) -> int | None:
    if isinstance(value, bool) or getattr(value, "ndim", 0) != 0:
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
