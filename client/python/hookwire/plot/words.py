"""From logits to words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hookwire.errors import arguments
from hookwire.facts import dtypes
from hookwire.facts.dtypes import Array


@arguments.checked("plot.top_words")
def top_words(logits: Any, decode: Callable[[int], str]) -> tuple[list[Any], Array]:
    """The most likely word at each place, and its probability.

    Args:
        logits: [layer, pos, d_vocab], or with other axes in front of the vocabulary.
        decode: the text of a token id, such as `model.to_single_str_token`.

    Returns:
        Words, as lists in the shape of the logits without the vocabulary; and probabilities in the
        same shape, float64.
    """
    arguments.check_callable(decode, "decode", "a function of a token id", 0)
    ids, probabilities = top_ids(logits)
    known = {one: decode(one) for one in np.unique(ids).tolist()}
    words = np.array([known[one] for one in ids.reshape(-1).tolist()], dtype=object)
    return words.reshape(ids.shape).tolist(), probabilities


def top_ids(logits: Any) -> tuple[Array, Array]:
    """The id of the highest logit at each place, and its probability: see `top_words`."""
    array: Array = dtypes.to_numpy(logits)
    ids: Array = array.argmax(-1)
    wide = array.astype(np.float64)
    highest = wide.max(-1, keepdims=True)
    # Its share of the sum, in which it is exp(0) itself.
    probabilities: Array = 1.0 / np.exp(wide - highest).sum(-1)
    return ids, probabilities


def top(logits: Any, count: int) -> list[tuple[int, float]]:
    """The ids of the highest logits [d_vocab], the highest first, with their probabilities."""
    wide = dtypes.to_numpy(logits).astype(np.float64)
    shares = np.exp(wide - wide.max())
    shares /= shares.sum()
    # Stable: of equal logits the first one is the answer, as it is for argmax.
    best = np.argsort(-wide, kind="stable")[:count]
    return [(int(one), float(shares[one])) for one in best]
