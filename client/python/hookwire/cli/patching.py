"""Activation patching in the words of `hookwire patch`: labels, metrics, and where it mattered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import hookwire
from hookwire.cli import failure, places, prompts, show
from hookwire.cli.places import Parts
from hookwire.cli.prompts import Prompt
from hookwire.facts.catalogue import HookPoint
from hookwire.facts.dtypes import Array
from hookwire.recipes.sweep import Pair, metric, sweep

METRICS = ("logit-diff", "recovered", "log-prob", "prob")


@dataclass(frozen=True)
class Result:
    """What patching did.

    Attributes:
        hooks: the hook points' names, one a row.
        layers: their layers, for labels.
        by: "pos" or "head".
        places: the positions or heads, one a column.
        labels: the tokens there, or the heads' numbers.
        measures: what the values are, in words.
        words: the answer, and what it is held against.
        clean: the metric of the clean prompt.
        corrupted: that of the corrupted one, before any patch.
        values: [point, place].
    """

    hooks: list[str]
    layers: list[str]
    by: str
    places: list[int]
    labels: list[str]
    measures: str
    words: tuple[str, str]
    clean: float
    corrupted: float
    values: Array

    @property
    def largest(self) -> tuple[int, int]:
        """Where the metric is farthest from that of the corrupted prompt."""
        distance = np.nan_to_num(np.abs(self.values - self.corrupted), nan=-1.0)
        row, column = divmod(int(distance.argmax()), len(self.places))
        return row, column

    def described_largest(self) -> dict[str, Any]:
        """The same, for JSON."""
        row, column = self.largest
        return {
            "hook": self.hooks[row],
            self.by: self.places[column],
            "value": float(self.values[row, column]),
        }


def patch(
    model: hookwire.RemoteModel,
    clean_prompt: Prompt,
    corrupted_prompt: Prompt,
    words: tuple[int, int],
    hooks: dict[str, HookPoint],
    by: str,
    at: Parts | None,
    measure: str,
) -> Result:
    """Patches everywhere, and says it in words.

    Args:
        model: the model, with NumPy tensors.
        clean_prompt: what is copied from.
        corrupted_prompt: what is patched; of as many tokens.
        words: the ids of the answer and of what it is held against.
        hooks: where, by the names to show.
        by: "pos" or "head": what is patched one at a time.
        at: which of them.
        measure: one of `METRICS`.

    Raises:
        Failure: places that there are not, or nothing to recover.
    """
    pair = Pair(clean_prompt.ids, corrupted_prompt.ids, words)
    if by == "pos":
        chosen = places.resolve(at, len(pair.clean), "position")
        labels = [corrupted_prompt.words[place] for place in chosen]
    else:
        chosen = places.resolve(at, _n_heads(hooks), "head")
        labels = [str(place) for place in chosen]
    baseline = pair.baseline(model)
    measured = metric(measure, baseline)
    clean, corrupted = map(float, measured(baseline))
    values = sweep(model, pair, list(hooks), by, chosen, measured, show.progress)
    texts = prompts.word(model, words[0]), prompts.word(model, words[1])
    return Result(
        hooks=list(hooks),
        layers=[n if p.layer is None else str(p.layer) for n, p in hooks.items()],
        by=by,
        places=chosen,
        labels=labels,
        measures=_in_words(measure, texts),
        words=texts,
        clean=clean,
        corrupted=corrupted,
        values=values,
    )


def _n_heads(hooks: dict[str, HookPoint]) -> int:
    """The heads that all of the hook points have.

    Raises:
        Failure: one has none.
    """
    sizes = []
    for name, point in hooks.items():
        heads = [axis.size for axis in point.axes if axis.name == "head"]
        if not heads:
            failure.refuse(f"{name} has no heads; --hook z has")
        sizes.append(heads[0])
    return min(sizes)


def _in_words(measure: str, words: tuple[str, str]) -> str:
    answer, against = map(show.word, words)
    difference = f"logit({answer}) − logit({against})"
    return {
        "logit-diff": difference,
        "recovered": f"{difference}, recovered",
        "log-prob": f"log p({answer})",
        "prob": f"p({answer})",
    }[measure]
