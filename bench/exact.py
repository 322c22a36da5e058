"""A bfloat16 computation done in float32: what both sides round is held against this."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

T = TypeVar("T")


class _Widened(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Operators see float32 where tensors or arguments are bfloat16, and return it."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten.embedding.default:  # exact: no need to widen the whole table
            return tree_map(_widen, func(*args, **(kwargs or {})))
        wide_args, wide_kwargs = tree_map(_widen, (tuple(args), dict(kwargs or {})))
        return tree_map(_widen, func(*wide_args, **wide_kwargs))


def _widen(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype is torch.bfloat16:
        return value.float()
    return torch.float32 if value is torch.bfloat16 else value


def in_float32(compute: Callable[[], T]) -> T:
    """What a computation in this process returns if nothing in it is rounded to bfloat16.

    Weights stay as they are, so that one of them at a time is widened.
    """
    with torch.no_grad(), _Widened():  # type: ignore[no-untyped-call]
        return compute()
