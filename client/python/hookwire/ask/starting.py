"""Runs that start at a layer: with the residual stream that enters it, instead of with tokens.

The server's pass always begins with tokens. What enters the layer is then set to the given residual
stream, so that all before it is computed in vain, and is not shown. Tokens are needed alongside
where later layers use more than the stream: per-layer embeddings, and keys and values of layers
that come before the start. Where nothing needs them, any token will do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hookwire import errors, ops
from hookwire.ask.inputs import Batch
from hookwire.facts import dtypes
from hookwire.facts.config import Config
from hookwire.facts.dtypes import Array

_ANY_TOKEN = 0


def residual(value: Any, d_model: int) -> Array:
    """The residual stream, [batch, pos, d_model].

    Args:
        value: of floating point, [batch, pos, d_model] or [pos, d_model].
        d_model: the model's width.

    Raises:
        ValueShapeError: something else.
    """
    array = None if isinstance(value, (str, list, tuple)) else dtypes.to_numpy(value)
    if array is None or not dtypes.is_floating(array.dtype):
        got = type(value).__name__ if array is None else f"a tensor of {array.dtype}"
        raise errors.ValueShapeError(
            "with start_at_layer the input is the residual stream that enters the layer, "
            f"[batch, pos, d_model], not {got}; tokens go alongside, as tokens=…"
        )
    stream = array[None] if array.ndim == 2 else array
    if stream.ndim != 3 or stream.shape[-1] != d_model or 0 in stream.shape:
        raise errors.ValueShapeError(
            "with start_at_layer the input is the residual stream that enters the layer: "
            f"[batch, pos, {d_model}], not {list(array.shape)}",
            metadata={"expected": f"[batch, pos, {d_model}]", "got": str(list(array.shape))},
        )
    return stream


def why_tokens(start: int, cfg: Config) -> str:
    """Why a run that starts there needs tokens; empty where it does not."""
    if cfg.d_per_layer_input:
        return (
            "each layer has an input of its own that is made of the tokens (per-layer embeddings)"
        )
    for at, one in enumerate(cfg.layers[start:], start):
        source = one.key_value_source
        if source is not None and source < start:
            return (
                f"layer {at} reuses the keys and values of layer {source}, which come from the "
                "tokens"
            )
    return ""


def stand_ins(stream: Array) -> Array:
    """Token ids [batch, pos] for a run that does not depend on them."""
    return np.full(stream.shape[:2], _ANY_TOKEN, dtype=np.int64)


def hook(stream: Array, start: int, batch: Batch) -> tuple[str, ops.Op]:
    """What puts the residual stream in.

    Raises:
        ValueShapeError: it is not that of these tokens.
    """
    if stream.shape[:2] != (len(batch), batch.width):
        raise errors.ValueShapeError(
            f"the residual stream has {list(stream.shape[:2])} rows and positions, the tokens "
            f"have {[len(batch), batch.width]}"
        )
    return f"blocks.{start}.hook_in", ops.set(stream)
