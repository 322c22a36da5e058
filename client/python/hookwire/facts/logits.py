"""From logits to token ids and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from hookwire.facts import dtypes
from hookwire.facts.dtypes import Array


def top_ids(logits: Any) -> tuple[Array, Array]:
    """The id of the highest logit at each place, and its probability: float64."""
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
