"""TransformerLens's slices: what `pos_slice`, `batch_slice` and `neuron_slice` may be."""

from __future__ import annotations

import operator
from typing import Any, Literal

import numpy as np

from hookwire import dtypes

Mode = Literal["identity", "int", "slice", "array"]


class Slice:
    """Some indices of one axis.

    Args:
        input_slice: None for all; a number for one, whose axis goes away; a tuple of one to three
            numbers, or a slice, for a range; a list, an array or a tensor of indices (or of
            booleans); another `Slice`, TransformerLens's own included.

    Attributes:
        slice: what the axis is indexed with.
        mode: "identity", "int", "slice" or "array".

    Raises:
        ValueError: anything else.
    """

    slice: Any
    mode: Mode

    def __init__(self, input_slice: Any = None) -> None:
        if hasattr(input_slice, "slice") and hasattr(input_slice, "mode"):
            # TransformerLens's own type calls its modes by the same names.
            self.slice, self.mode = input_slice.slice, input_slice.mode
        elif input_slice is None:
            self.slice, self.mode = slice(None), "identity"
        elif isinstance(input_slice, slice):
            self.slice, self.mode = input_slice, "slice"
        elif isinstance(input_slice, tuple):
            self.slice, self.mode = slice(*input_slice), "slice"
        elif (number := _whole_number(input_slice)) is not None:
            self.slice, self.mode = number, "int"
        elif isinstance(input_slice, (list, np.ndarray)) or dtypes.is_torch(input_slice):
            self.slice, self.mode = dtypes.to_numpy(input_slice), "array"
        else:
            raise ValueError(f"{input_slice!r} is no slice: see hookwire.cache.Slice")

    @classmethod
    def unwrap(cls, input_slice: Any) -> Slice:
        """The slice, with a number as a list of one, so that its axis stays."""
        made = cls(input_slice)
        return cls([made.slice]) if made.mode == "int" else made

    def apply(self, tensor: Any, dim: int = 0) -> Any:
        """The selected part of a tensor or an array, along one axis."""
        if self.mode == "identity":
            return tensor
        index: list[Any] = [slice(None)] * tensor.ndim
        index[dim] = self.slice
        return tensor[tuple(index)]

    def indices(self, max_ctx: int | None = None) -> Any:
        """The selected indices of an axis with `max_ctx` elements, as an array."""
        if self.mode == "int":
            return np.array([self.slice])
        if max_ctx is None:
            raise ValueError("max_ctx is needed for a slice that is no number")
        return np.arange(max_ctx)[self.slice]

    def __repr__(self) -> str:
        return f"Slice({self.slice!r}, {self.mode!r})"


def _whole_number(value: Any) -> int | None:
    if isinstance(value, bool) or getattr(value, "ndim", 0) != 0:
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
