"""A function's visit at a hook point: what it gets, and what goes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hookwire import dtypes, errors, rpc
from hookwire._proto import service_pb2
from hookwire.dtypes import Array
from hookwire.entries import Entry
from hookwire.hooks import Callback, Hook
from hookwire.results import Assembly


class Visit:
    """One call of a function, with the tensor that has come.

    Args:
        entry: the tensor, whole.
        assembly: what it is part of.
        function: what is to be called.
        hook: what the function is told about the place.
        tensor: makes what users see out of an array, over its memory.
        read_only_reason: why nothing can be written there; None where it can.
        has_batch: whether the function sees the batch axis.
    """

    def __init__(
        self,
        entry: Entry,
        assembly: Assembly,
        function: Callback,
        hook: Hook,
        tensor: Callable[[Array], Any],
        *,
        read_only_reason: str | None = None,
        has_batch: bool = True,
    ) -> None:
        assert entry.array is not None
        self._assembly = assembly
        self._parts = entry.parts
        self._function = function
        self._hook = hook
        self._read_only_reason = read_only_reason
        # It belongs to the function now.
        self._array, entry.array = entry.array, None
        self._before = None if function.read_only else self._array.copy()
        self._shown = self._array if has_batch else self._array[0]
        self._tensor = tensor(self._shown)

    def call(self) -> Any:
        """Calls the function; what it returns, which is a coroutine where it is asynchronous."""
        return self._function(self._tensor, self._hook)

    def answer(self, returned: Any) -> Iterator[service_pb2.InteractRequest]:
        """What is to be sent for what the function has returned.

        Raises:
            ValueShapeError: a tensor of another shape.
            ValueDtypeError: no tensor, or one of another kind of numbers.
            ReadOnlyHookError: a change where nothing can be written.
        """
        if self._before is None:
            return
        after = self._array if returned is None else self._checked(returned)
        if self._read_only_reason is not None:
            if after.tobytes() != self._before.tobytes():
                raise errors.ReadOnlyHookError(
                    f"the function has changed {self._hook.name}, which cannot be written: "
                    f"{self._read_only_reason}",
                    metadata={"hook": self._hook.name, "suggestion": self._read_only_reason},
                )
            return
        kept = service_pb2.Keep()
        for number in self._parts:
            part = self._assembly.part(number, after)
            data = part.reshape(-1).view(np.uint8).data
            before = self._assembly.part(number, self._before)
            if data == before.reshape(-1).view(np.uint8).data:
                kept.tensors.append(number)
                continue
            for chunks in rpc.pieces(number, data):
                yield service_pb2.InteractRequest(answer=chunks)
        if kept.tensors:
            yield service_pb2.InteractRequest(keep=kept)

    def _checked(self, returned: Any) -> Array:
        if not hasattr(returned, "shape"):
            raise errors.ValueDtypeError(
                f"the function at {self._hook.name} returned {type(returned).__name__}: return a "
                "tensor, or None after changing the tensor in place",
                metadata={"hook": self._hook.name},
            )
        array = dtypes.to_numpy(returned)
        if array.shape not in (self._shown.shape, self._array.shape):
            expected, got = list(self._shown.shape), list(array.shape)
            raise errors.ValueShapeError(
                f"the function at {self._hook.name} returned a tensor of shape {got}; the hook "
                f"point's is {expected}",
                metadata={"hook": self._hook.name, "expected": str(expected), "got": str(got)},
            )
        if dtypes.is_floating(array.dtype) != dtypes.is_floating(self._array.dtype):
            raise errors.ValueDtypeError(
                f"the function at {self._hook.name} returned a tensor of {array.dtype}; the hook "
                f"point's is {self._array.dtype}",
                metadata={"hook": self._hook.name, "got": str(array.dtype)},
            )
        made: Array = array.astype(self._array.dtype, copy=False).reshape(self._array.shape)
        return made
