"""Parts of the residual stream, read along the directions of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hookwire import dtypes
from hookwire.cache import arrays
from hookwire.cache.slices import Slice

if TYPE_CHECKING:
    from hookwire.cache.activation_cache import ActivationCache


def token_ids(cache: ActivationCache, tokens: Any) -> Any:
    """Token ids of a string, a number, or a list or tensor of either, as int64 of any shape."""
    if isinstance(tokens, str):
        return np.asarray(cache.model._single_token(tokens), dtype=np.int64)
    if isinstance(tokens, (list, tuple)):
        return np.array([token_ids(cache, token) for token in tokens], dtype=np.int64)
    ids = dtypes.to_numpy(tokens)
    if not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(f"tokens are strings or token ids, not {ids.dtype}")
    return ids.astype(np.int64)


def directions(cache: ActivationCache, ids: Any, like: Any) -> Any:
    """The unembedding's columns of tokens: [..., d_model] for ids [...]."""
    # One id of any shape is one direction, as in TransformerLens.
    shape = ids.shape if ids.size > 1 else ()
    rows = cache.weights.rows("unembed.weight", ids.reshape(-1))
    return arrays.matching(rows.reshape(*shape, rows.shape[-1]), like)


def attribute(
    cache: ActivationCache,
    residual_stack: Any,
    tokens: Any,
    incorrect_tokens: Any,
    pos_slice: Slice,
    batch_slice: Slice,
    has_batch_dim: bool,
) -> Any:
    """See `ActivationCache.logit_attrs`."""
    ids = token_ids(cache, tokens)
    towards = directions(cache, ids, residual_stack)
    if incorrect_tokens is not None:
        other = token_ids(cache, incorrect_tokens)
        if other.shape != ids.shape:
            raise ValueError(
                "tokens and incorrect_tokens must have the same shape, "
                f"not {ids.shape} and {other.shape}"
            )
        towards = towards - directions(cache, other, residual_stack)
    scaled = cache.apply_ln_to_stack(
        residual_stack,
        layer=-1,
        pos_slice=pos_slice,
        batch_slice=batch_slice,
        has_batch_dim=has_batch_dim,
    )
    if (
        has_batch_dim
        and batch_slice.mode != "int"
        and scaled.ndim == 4
        and towards.ndim == 2
        and towards.shape[0] == scaled.shape[1]
    ):
        # One direction for each row of the batch, at all its positions.
        towards = towards[:, None]
    return arrays.cast((arrays.float32(scaled) * arrays.float32(towards)).sum(-1), scaled)
