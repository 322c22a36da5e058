"""Parts of the residual stream, read along the directions of tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hookwire import errors
from hookwire.cache import arrays
from hookwire.cache.captured import Captured
from hookwire.facts.ids import words


def token_ids(cache: Captured, tokens: Any, what: str) -> Any:
    """Token ids of a string, a number, or a list or tensor of either, as int64 of any shape."""
    ids = words(tokens, what, cache.model._single_token, cache.cfg.d_vocab)
    if not ids.size:
        raise errors.ArgumentError(f"{what} has no tokens: give at least one")
    return ids


def directions(cache: Captured, ids: Any, like: Any) -> Any:
    """The unembedding's columns of tokens: [..., d_model] for ids [...]."""
    # One id of any shape is one direction, as in TransformerLens.
    shape = ids.shape if ids.size > 1 else ()
    rows = cache.weights.rows("unembed.weight", ids.reshape(-1))
    return arrays.matching(rows.reshape(*shape, rows.shape[-1]), like)


def attribute(
    cache: Captured,
    residual_stack: Any,
    tokens: Any,
    incorrect_tokens: Any,
    scale: Callable[[Any], Any],
    has_rows: bool,
) -> Any:
    """See `ActivationCache.logit_attrs`.

    Args:
        cache: gives the unembedding.
        residual_stack: as there.
        tokens: as there.
        incorrect_tokens: as there.
        scale: puts the parts through the final norm.
        has_rows: whether they then have an axis of rows.
    """
    ids = token_ids(cache, tokens, "tokens")
    towards = directions(cache, ids, residual_stack)
    if incorrect_tokens is not None:
        other = token_ids(cache, incorrect_tokens, "incorrect_tokens")
        if other.shape != ids.shape:
            raise errors.ArgumentError(
                "tokens and incorrect_tokens must have the same shape, not "
                f"{list(ids.shape)} and {list(other.shape)}"
            )
        towards = towards - directions(cache, other, residual_stack)
    scaled = scale(residual_stack)
    if has_rows and scaled.ndim == 4 and towards.ndim == 2 and towards.shape[0] == scaled.shape[1]:
        # One direction for each row of the batch, at all its positions.
        towards = towards[:, None]
    try:
        np.broadcast_shapes(scaled.shape, towards.shape)
    except ValueError:
        raise errors.ArgumentError(
            f"tokens of shape {list(ids.shape)} do not belong to parts of shape "
            f"{list(scaled.shape)}, behind the slices: give one token, or ids [batch], [pos] or "
            "[batch, pos]"
        ) from None
    return arrays.cast((arrays.float32(scaled) * arrays.float32(towards)).sum(-1), scaled)
