"""Token ids, out of what users write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hookwire import errors
from hookwire.facts import dtypes, selection
from hookwire.facts.dtypes import Array

_MAX_ID = 2**32


def check_padding_side(padding_side: str | None) -> None:
    """Refuses what is no side.

    Raises:
        ArgumentError: neither None nor one of the two sides.
    """
    selection.one_of(padding_side, (None, "left", "right"), "padding_side")


def token_ids(value: Any, what: str, accepts: str = "token ids") -> Array:
    """An integer array of token ids, of whatever shape.

    Args:
        value: an int, a list, a NumPy array or a torch tensor.
        what: the argument, for messages.
        accepts: what the argument takes, for messages.

    Raises:
        TokenOutOfRangeError: an id below 0 or over 32 bits.
        ArgumentTypeError: anything else.
    """
    if isinstance(value, (list, tuple)) and value and dtypes.is_torch(value[0]):
        value = [dtypes.to_numpy(row) for row in value]
    try:
        ids = dtypes.to_numpy(value)
    except (ValueError, OverflowError):
        raise errors.ArgumentTypeError(
            f"{what} must be {accepts}, flat or as rows, not {errors.shown(value)}"
        ) from None
    if ids.dtype.kind == "f" and ids.size == 0:
        ids = ids.astype(np.int64)
    if ids.dtype.kind in "iu":
        outside = ids[(ids < 0) | (ids >= _MAX_ID)]
        bad = int(outside[0]) if outside.size else None
    else:
        bad = _no_id(value)
    if bad is not None:
        raise errors.TokenOutOfRangeError(f"{what} has {bad}, which is not a token id")
    if ids.dtype.kind not in "iu":
        raise errors.ArgumentTypeError(
            f"{what} must be {accepts}, which are integers, not {errors.shown(value)}"
        )
    return ids


def words(
    given: Any, what: str, to_single_token: Callable[[str], int], d_vocab: int | None = None
) -> Array:
    """Token ids out of strings that are one token each, ids, or lists of either, of any shape.

    Args:
        given: what a user gives.
        what: the argument, for messages.
        to_single_token: for strings.
        d_vocab: of the model; None: the server checks that the ids are below it.

    Raises:
        NotASingleTokenError: a string that is none.
        TokenOutOfRangeError: an id that the vocabulary does not have.
        ArgumentTypeError: anything else.
    """

    def with_ids(value: Any) -> Any:
        if isinstance(value, str):
            return to_single_token(value)
        if isinstance(value, (list, tuple)):
            return [with_ids(one) for one in value]
        return value

    ids = token_ids(with_ids(given), what, "strings that are one token, or token ids")
    if d_vocab is not None and ids.size and ids.max() >= d_vocab:
        raise errors.TokenOutOfRangeError(
            f"{what} has token {ids.max()}, which is outside the model's vocabulary of "
            f"{d_vocab:,} tokens"
        )
    return ids.astype(np.int64)


def one_prompt(ids: Array, what: str) -> list[int]:
    """The tokens of ids [pos] or [1, pos].

    Args:
        ids: as `token_ids` gives them.
        what: the argument, for messages.

    Raises:
        ArgumentError: it is another number of prompts than one.
    """
    row = ids[0] if ids.ndim == 2 and len(ids) == 1 else ids
    if row.ndim != 1 or not row.size:
        raise errors.ArgumentError(f"{what} must be one prompt, not {list(ids.shape)}")
    tokens: list[int] = row.tolist()
    return tokens


def _no_id(value: Any) -> int | None:
    """An int in lists that is not a token id. NumPy makes floats, or objects, of large ones."""
    if isinstance(value, (list, tuple)):
        return next((bad for bad in map(_no_id, value) if bad is not None), None)
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return value if is_int and not 0 <= value < _MAX_ID else None
