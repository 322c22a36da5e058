"""Activation patching over layers × positions, or layers × heads.

A layer is one run: row 0 is the clean prompt, and each other row is the corrupted one, patched at a
place of its own with `ops.copy`. Nothing but two log-probabilities a row comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hookwire import errors, ops
from hookwire.api.blocking.model import RemoteModel
from hookwire.facts.dtypes import Array
from hookwire.recipes.steps import Steps, taken

Metric = Callable[[Array], Array]
"""From the log-probabilities of two words, [row, 2], to [row]."""


@dataclass(frozen=True)
class Pair:
    """Two prompts of as many tokens, and the two words that tell them apart.

    Attributes:
        clean: the prompt that is copied from.
        corrupted: the prompt that is patched.
        words: the ids of the answer and of the word that it is held against.
    """

    clean: list[int]
    corrupted: list[int]
    words: tuple[int, int]

    def baseline(self, model: RemoteModel) -> Array:
        """The log-probabilities of both words without a patch: [clean and corrupted, 2]."""
        found: Array = model.log_probs([self.clean, self.corrupted], list(self.words))
        return found


def metric(name: str, baseline: Array) -> Metric:
    """The metric with this name.

    Args:
        name: "logit-diff": logit of the answer less that of the other word; "recovered": the same
            between 0, as in the corrupted run, and 1, as in the clean one; "log-prob" and "prob" of
            the answer.
        baseline: see `Pair.baseline`.

    Raises:
        ArgumentError: "recovered", where both runs have the same difference.
    """
    if name == "log-prob":
        return lambda found: found[:, 0]
    if name == "prob":
        return lambda found: np.exp(found[:, 0])
    if name == "logit-diff":
        return _difference
    clean, corrupted = map(float, _difference(baseline))
    if clean == corrupted:
        raise errors.ArgumentError(
            "nothing can be recovered: both prompts have the same logit difference"
        )
    return lambda found: (_difference(found) - corrupted) / (clean - corrupted)


def _difference(found: Array) -> Array:
    # Of one softmax, so that its normaliser falls out: the difference of the logits.
    difference: Array = found[:, 0].astype(np.float64) - found[:, 1]
    return difference


def sweep(
    model: RemoteModel,
    pair: Pair,
    hooks: Sequence[str],
    by: str,
    places: Sequence[int],
    measure: Metric,
    steps: Steps = taken,
) -> Array:
    """The metric of the corrupted prompt after each patch.

    Args:
        model: the model, with NumPy tensors.
        pair: the prompts.
        hooks: the hook points' names, one a row of the result.
        by: "pos" or "head": what is patched one at a time.
        places: the positions or heads.
        measure: the metric.
        steps: goes over the runs.

    Returns:
        [hook, place].
    """
    rows = _rows_a_run(model, pair, len(places))
    runs = [
        (row, first)
        for row in range(len(hooks))
        for first in range(0, len(places), rows)
    ]  # fmt: skip
    result = np.empty((len(hooks), len(places)))
    for row, first in steps(runs, "patching"):
        chosen = places[first : first + rows]
        patches = [
            (hooks[row], ops.copy(from_row=0, row=1 + number, **{by: place}))
            for number, place in enumerate(chosen)
        ]
        prompts = [pair.clean, *[pair.corrupted] * len(chosen)]
        found = model.log_probs(prompts, list(pair.words), fwd_hooks=patches)
        result[row, first : first + rows] = measure(found[1:])
    return result


def _rows_a_run(model: RemoteModel, pair: Pair, wanted: int) -> int:
    """How many patches fit one run, beside the clean row."""
    limit = model.server.max_tokens
    return max(1, min(wanted, limit // len(pair.clean) - 1)) if limit else wanted
