"""From logits to words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hookwire.errors import arguments
from hookwire.facts.dtypes import Array
from hookwire.facts.logits import top_ids


@arguments.checked("plot.top_words")
def top_words(logits: Any, decode: Callable[[int], str]) -> tuple[list[Any], Array]:
    """Returns the most likely word at each place, and its probability.

    Args:
        logits: [layer, pos, d_vocab], or other axes before d_vocab.
        decode: a function that returns the text of a token id, such as `model.to_single_str_token`.

    Returns:
        A pair: words, nested lists [layer, pos]; and probabilities, float64 [layer, pos].

    Raises:
        ArgumentTypeError: `decode` is not a function.
    """
    arguments.check_callable(decode, "decode", "a function of a token id", 0)
    ids, probabilities = top_ids(logits)
    known = {one: decode(one) for one in np.unique(ids).tolist()}
    words = np.array([known[one] for one in ids.reshape(-1).tolist()], dtype=object)
    return words.reshape(ids.shape).tolist(), probabilities
