"""The few things that torch tensors and NumPy arrays do in different ways.

Both have operators, indexing, `sum(-1)` and `mean(-1)` in common; what else the cache's methods
need is here. torch is imported only where a tensor of it comes in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hookwire import errors
from hookwire.facts import dtypes

# The distance from 1 to the next number.
_EPS = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23, "float64": 2.0**-52}


def _module(x: Any) -> Any:
    if dtypes.is_torch(x):
        import torch

        return torch
    return np


def stack(parts: Sequence[Any]) -> Any:
    """[part, …]."""
    return _module(parts[0]).stack(list(parts))


def concatenate(parts: Sequence[Any], axis: int = 0) -> Any:
    """The parts end to end along an axis that is there."""
    return parts[0] if len(parts) == 1 else _module(parts[0]).concatenate(list(parts), axis)


def move_axis(x: Any, source: int, target: int) -> Any:
    """The same elements with one axis moved."""
    return _module(x).moveaxis(x, source, target)


def empty(shape: Sequence[int], like: Any) -> Any:
    """Zeros (or, mostly, nothing at all) of the dtype and device of `like`."""
    if dtypes.is_torch(like):
        return like.new_zeros(tuple(shape))
    return np.zeros(tuple(shape), like.dtype)


def float32(x: Any) -> Any:
    """The same numbers, in float32 where they are in something narrower."""
    if dtypes.is_torch(x):
        return x.float() if x.element_size() < 4 else x
    return x.astype(np.float32) if x.dtype.itemsize < 4 else x


def cast(x: Any, like: Any) -> Any:
    """The same numbers in the dtype of `like`."""
    return x.to(like.dtype) if dtypes.is_torch(x) else x.astype(like.dtype, copy=False)


def matching(weight: Any, x: Any) -> Any:
    """A weight on the device of `x`, in the wider of both dtypes, as a tensor of its kind."""
    if dtypes.is_torch(x):
        import torch

        made = weight if dtypes.is_torch(weight) else dtypes.to_torch(np.array(weight))
        return made.to(device=x.device, dtype=torch.promote_types(made.dtype, x.dtype))
    array = dtypes.to_numpy(weight)
    return array.astype(np.promote_types(array.dtype, x.dtype), copy=False)


def times(x: Any, factor: float) -> Any:
    """x × factor, in the dtype of x."""
    if factor == 1.0:
        return x
    return x * (factor if dtypes.is_torch(x) else x.dtype.type(factor))


def for_products(x: Any) -> Any:
    """The same numbers as products want them: NumPy has none of bfloat16."""
    return x if dtypes.is_torch(x) else float32(x)


def einsum(equation: str, x: Any, y: Any) -> Any:
    """Einstein's sum of two tensors of one kind, in the wider of their dtypes."""
    if dtypes.is_torch(x):
        import torch

        dtype = torch.promote_types(x.dtype, y.dtype)
        return torch.einsum(equation, x.to(dtype), y.to(dtype))
    made = np.einsum(equation, for_products(x), for_products(y), optimize=True)
    return made.astype(np.promote_types(x.dtype, y.dtype), copy=False)


def mean_square(x: Any) -> Any:
    """The mean of x² along the last axis, which stays, in float32 or wider."""
    wide = float32(x)
    return (wide * wide).mean(-1)[..., None]


def norm(x: Any) -> float:
    """√Σx², as a number."""
    wide = float32(x)
    return math.sqrt(float((wide * wide).sum()))


def eps(x: Any) -> float:
    """The distance from 1 to the next number of the tensor's dtype."""
    return eps_of(str(x.dtype).removeprefix("torch."))


def eps_of(dtype: str) -> float:
    """The distance from 1 to the next number of a dtype, by its name."""
    return _EPS[dtype]


def tanh(x: Any) -> Any:
    """tanh, element by element."""
    return _module(x).tanh(x)


def log_softmax(x: Any) -> Any:
    """Natural-log probabilities along the last axis, in float32 or wider."""
    wide = float32(x)
    if dtypes.is_torch(x):
        return wide.log_softmax(-1)
    shifted = wide - wide.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def exp(x: Any) -> Any:
    """eˣ, element by element."""
    return _module(x).exp(x)


def take(x: Any, index: Any) -> Any:
    """x[..., index[..., i]] for each i: elements of the last axis, row by row."""
    if dtypes.is_torch(x):
        return x.gather(-1, index)
    return np.take_along_axis(x, index, -1)


def top(x: Any, k: int) -> Any:
    """The indices of the k largest elements of the last axis, the largest first."""
    if dtypes.is_torch(x):
        return x.topk(k, dim=-1).indices
    return np.argsort(-x, axis=-1, kind="stable")[..., :k]


def indices(values: Any, like: Any) -> Any:
    """Integers as an int64 tensor or array of the kind of `like`, on its device."""
    made = np.asarray(dtypes.to_numpy(values), dtype=np.int64)
    if dtypes.is_torch(like):
        return dtypes.to_torch(np.array(made)).to(like.device)
    return made


def check_vectors(x: Any, axis: int, d_model: int, like: Any, what: str, axes: str) -> None:
    """Checks that an argument has vectors of the residual stream along an axis.

    Args:
        x: the argument.
        axis: the axis.
        d_model: the model's width.
        like: a tensor of the cache: both must be torch tensors, or NumPy arrays.
        what: the argument's name.
        axes: how its axes are, such as "[part, batch, pos, d_model]".

    Raises:
        ArgumentTypeError: no tensor, or one of the other kind.
        ValueShapeError: another width.
    """
    ours = "a torch tensor" if dtypes.is_torch(like) else "a NumPy array"
    is_tensor = dtypes.is_torch(x) or isinstance(x, np.ndarray)
    if not is_tensor or dtypes.is_torch(x) != dtypes.is_torch(like):
        raise errors.ArgumentTypeError(
            f"{what} must be {ours} {axes}, as the cache has them, not {errors.shown(x)}"
        )
    if x.ndim < 1 or x.shape[axis] != d_model:
        raise errors.ValueShapeError(
            f"{what} must be {axes} with d_model={d_model}, not of shape {list(x.shape)}"
        )


def broadcast(x: Any, shape: Sequence[int]) -> Any:
    """x with its axes repeated to a shape.

    Raises:
        ValueShapeError: the shapes do not fit.
    """
    try:
        return x.expand(tuple(shape)) if dtypes.is_torch(x) else np.broadcast_to(x, tuple(shape))
    except (RuntimeError, ValueError):
        raise errors.ValueShapeError(
            f"shape {list(x.shape)} does not broadcast to {list(shape)}"
        ) from None
