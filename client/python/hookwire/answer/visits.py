"""A function's visit at a hook point: what it gets, and what goes back."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from hookwire import errors
from hookwire._proto import service_pb2
from hookwire.answer.assembly import Assembly
from hookwire.answer.entries import Entry
from hookwire.ask.hooks import Callback, Hook
from hookwire.facts import dtypes
from hookwire.facts.dtypes import Array
from hookwire.wire import rpc


class Visit:
    """One call of a function, with the tensor that has come.

    Args:
        entry: the tensor, whole.
        assembly: what it is part of.
        function: what is to be called.
        hook: what the function is told about the place.
        asked: the place's name as the user gave it, for messages.
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
        asked: str,
        tensor: Callable[[Array], Any],
        *,
        read_only_reason: str | None = None,
        has_batch: bool = True,
    ) -> None:
        assert entry.array is not None
        self._assembly = assembly
        self._tensors = entry.draft.tensors
        self._function = function
        self._hook = hook
        self._asked = asked
        self._read_only_reason = read_only_reason
        self._before = None if function.read_only else entry.array.copy()
        # A view of its own, which a function may give another shape without harm to anything else.
        shown = entry.array[:] if has_batch else entry.array[0]
        self._shape, self._dtype = entry.array.shape, entry.array.dtype
        self._shown_shape = shown.shape
        self._tensor = tensor(shown)
        self._shown_dtype = self._tensor.dtype
        # It belongs to the function now.
        entry.array = None

    def call(self) -> Any:
        """Calls the function; what it returns.

        An exception of the function comes out as it is, with a note that names the hook point.
        """
        with self._noting():
            return self._function(self._tensor, self._hook)

    async def call_and_wait(self) -> Any:
        """As `call`; a function that is asynchronous is awaited."""
        with self._noting():
            returned = self._function(self._tensor, self._hook)
            return await returned if inspect.isawaitable(returned) else returned

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if sys.version_info >= (3, 11):
                error.add_note(f"raised by the function at {self._asked}: {self._function!r}")
            raise

    def answer(self, returned: Any) -> Iterator[service_pb2.InteractRequest]:
        """What is to be sent for what the function has returned.

        Raises:
            ValueShapeError: a tensor of another shape.
            ValueDtypeError: no tensor, or one of another kind of numbers.
            ReadOnlyHookError: a change where nothing can be written.
        """
        if inspect.isawaitable(returned):
            if inspect.iscoroutine(returned):
                returned.close()
            raise errors.ValueDtypeError(
                f"the function at {self._asked} is asynchronous, and nothing awaits it here: "
                "connect with hookwire.aio, or pass a function that is not",
                metadata={"hook": self._hook.name},
            )
        if self._before is None:
            return
        after = self._written() if returned is None else self._checked(returned)
        if self._read_only_reason is not None:
            if after.tobytes() != self._before.tobytes():
                raise errors.ReadOnlyHookError(
                    f"the function has changed {self._asked}, which cannot be written: "
                    f"{self._read_only_reason}",
                    metadata={"hook": self._hook.name, "suggestion": self._read_only_reason},
                )
            return
        kept = service_pb2.Keep()
        for number in self._tensors:
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

    def _written(self) -> Array:
        """What the tensor that the function was given holds now.

        A function may have written into its memory, or put other memory in its place (`x.data = …`,
        `x.set_(…)`): in TransformerLens the pass goes on with either.
        """
        shape, dtype = tuple(self._tensor.shape), self._tensor.dtype
        if shape != self._shown_shape:
            raise self._wrong_shape(f"has made its tensor one of shape {list(shape)}", shape)
        if dtype != self._shown_dtype:
            raise self._wrong_dtype(f"has made its tensor one of {dtype}", dtype)
        written: Array = self._array_of(self._tensor).reshape(self._shape)
        return written

    def _checked(self, returned: Any) -> Array:
        """What the function has returned, as the array to be sent."""
        if not hasattr(returned, "shape"):
            raise errors.ValueDtypeError(
                f"the function at {self._asked} returned {type(returned).__name__}: return a "
                "tensor, or None after changing the tensor in place",
                metadata={"hook": self._hook.name},
            )
        array = self._array_of(returned)
        if array.shape not in (self._shown_shape, self._shape):
            raise self._wrong_shape(f"returned a tensor of shape {list(array.shape)}", array.shape)
        if dtypes.is_floating(array.dtype) != dtypes.is_floating(self._dtype):
            raise self._wrong_dtype(f"returned a tensor of {array.dtype}", array.dtype)
        made: Array = array.astype(self._dtype, copy=False).reshape(self._shape)
        return made

    def _array_of(self, tensor: Any) -> Array:
        try:
            return dtypes.to_numpy(tensor)
        except errors.ArgumentTypeError as error:
            raise self._wrong_dtype(
                f"returned something else than a tensor: {error}", ""
            ) from error

    def _wrong_shape(self, what: str, got: tuple[int, ...]) -> errors.ValueShapeError:
        expected = list(self._shown_shape)
        return errors.ValueShapeError(
            f"the function at {self._asked} {what}; the hook point's is {expected}",
            metadata={"hook": self._hook.name, "expected": str(expected), "got": str(list(got))},
        )

    def _wrong_dtype(self, what: str, got: Any) -> errors.ValueDtypeError:
        return errors.ValueDtypeError(
            f"the function at {self._asked} {what}; the hook point's is {self._shown_dtype}",
            metadata={"hook": self._hook.name, "got": str(got)},
        )
