"""Activation patching over layers × positions, or layers × heads.

    from hookwire import patching

    found = patching.sweep(model, clean, corrupted, answer="Mary", against="John")
    found.values  # [hook, position]: the metric after each patch
    found.plot(save="patching.png")

The sweep copies the activation at one place of the clean prompt's run into the corrupted prompt's
run, and measures how the prediction of the next word changes. Each hook point takes one run: row 0
is the clean prompt, and each other row is the corrupted one, patched at its own place with
`ops.copy`. The server sends only two log-probabilities for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hookwire import errors, ops
from hookwire.api.blocking.model import RemoteModel
from hookwire.api.steps import Steps, taken
from hookwire.errors import arguments
from hookwire.facts import dtypes, selection
from hookwire.facts.catalogue import HookPoint
from hookwire.facts.dtypes import Array
from hookwire.facts.ids import one_prompt, token_ids
from hookwire.recipes import points
from hookwire.recipes.words import word

METRICS = ("logit-diff", "recovered", "log-prob", "prob")
_Metric = Callable[[Array], Array]


@dataclass(frozen=True)
class Sweep:
    """The result of a sweep.

    Attributes:
        values: the metric of the corrupted prompt after each patch, float64 [hook, place].
        hooks: the name of each row's hook point.
        layers: the layer of each row's hook point; None outside the layers.
        by: "pos" or "head": what a place is.
        places: the position or head of each column.
        labels: the token or the head's number of each column.
        metric: "logit-diff", "recovered", "log-prob" or "prob".
        answer: the token id of the answer.
        against: the token id of the word that the answer is compared with.
        words: the texts of both words.
        clean: the metric of the clean prompt.
        corrupted: the metric of the corrupted prompt without a patch.
    """

    values: Array
    hooks: list[str]
    layers: list[int | None]
    by: str
    places: list[int]
    labels: list[str]
    metric: str
    answer: int
    against: int
    words: tuple[str, str]
    clean: float
    corrupted: float

    @property
    def largest(self) -> tuple[int, int]:
        """The row and column of the patch with the largest effect on the metric."""
        distance = np.nan_to_num(np.abs(self.values - self.corrupted), nan=-1.0)
        row, column = divmod(int(distance.argmax()), len(self.places))
        return row, column

    @property
    def rows(self) -> list[str]:
        """A label for each row: the layer, or the hook point's name."""
        pairs = zip(self.hooks, self.layers, strict=True)
        return [name if layer is None else str(layer) for name, layer in pairs]

    def measures(self, shown: Callable[[str], str] = str, *, minus: str = "−") -> str:
        """Returns what the values are, such as "logit(Mary) − logit(John)".

        Args:
            shown: a function that returns the text to show for a word. Default: the word itself.
            minus: the sign of a difference. The command passes "-", the sign of its numbers.
        """
        answer, against = map(shown, self.words)
        difference = f"logit({answer}) {minus} logit({against})"
        return {
            "logit-diff": difference,
            "recovered": f"{difference}, recovered",
            "log-prob": f"log p({answer})",
            "prob": f"p({answer})",
        }[self.metric]

    def plot(self, *, hook: str = "", save: Any = None, shown: Callable[[str], str] = str) -> Any:
        """Draws the result with `hookwire.plot.patching`.

        Args:
            hook: the name of what was copied, for the title. Default: the first hook point's name.
            save: also write the picture to this path. Default: do not.
            shown: a function that returns the text to show for a word. Default: the word itself.

        Returns:
            A `hookwire.plot.Figure`.

        Raises:
            MissingExtraError: neither matplotlib nor plotly is installed.
        """
        from hookwire import plot

        return plot.patching(
            self.values,
            tokens=[shown(text) for text in self.labels],
            clean=self.clean,
            corrupted=self.corrupted,
            layers=self.rows,
            metric=self.measures(shown),
            hook=hook or self.hooks[0],
            column_axis="head" if self.by == "head" else "",
            save=save,
        )


@arguments.checked("patching.sweep")
def sweep(
    model: RemoteModel,
    clean: Any,
    corrupted: Any,
    hooks: str | Mapping[str, HookPoint] = "resid_pre",
    *,
    by: str = "pos",
    layers: Any = None,
    at: Any = None,
    answer: str | int | None = None,
    against: str | int | None = None,
    metric: str = "logit-diff",
    prepend_bos: bool | None = None,
    steps: Steps = taken,
) -> Sweep:
    """Patches one prompt with activations of another, one place at a time.

    "How to use and interpret activation patching" (Heimersheim and Nanda, 2024) discusses the
    metrics. Logits are those after the final softcap.

    Args:
        model: a blocking model.
        clean: the prompt whose activations are copied: text, or token ids [pos].
        corrupted: the prompt that is patched, with the same number of tokens.
        hooks: which hook points: a name, an alias, a glob, or a short name of TransformerLens,
            which stands for one hook point in each layer, such as "resid_pre", "attn_out" or "z";
            or a dict from names to show to `HookPoint`s.
        by: copy one "pos" at a time (all heads), or one "head" at a time (all positions).
        layers: only hook points of these layers: an int, a list or a slice. Default: all.
        at: which positions or heads: an int, a list or a slice. Default: all.
        answer: a word that is one token, or its id. Default: the clean prompt's next word.
        against: the word that the answer is compared with, or its id. Default: the corrupted
            prompt's next word.
        metric: "logit-diff": logit(answer) − logit(against); "recovered": (logit-diff − corrupted)
            / (clean − corrupted), which is 0 in the corrupted run and 1 in the clean one;
            "log-prob": ln p(answer); "prob": p(answer).
        prepend_bos: for text: put a beginning-of-sequence token first. Default: the tokenizer's
            `default_prepend_bos`, which is True unless you set it.
        steps: a function that is called with the list of runs and a title, and yields the runs,
            such as `tqdm.tqdm`, which shows a bar. Default: no bar.

    Returns:
        The metric after each patch.

    Raises:
        ArgumentError: prompts of different lengths, the same word twice, clean and corrupted runs
            with the same metric (for "recovered"), or no hook point in these layers.
        ArgumentTypeError: `model` is not a blocking model.
        HookNotFoundError, AbsentHookError, GlobNoMatchError: no such hook point.
        NotASingleTokenError: a word is not one token.
        HookwireError: as in `RemoteModel.run_with_cache`.
    """
    if not isinstance(model, RemoteModel):
        raise errors.ArgumentTypeError(
            f"sweep takes the model of hookwire.connect, not {errors.shown(model)}"
        )
    selection.one_of(by, ("pos", "head"), "by")
    selection.one_of(metric, METRICS, "metric")
    pair = [
        _prompt(model, prompt, what, prepend_bos)
        for prompt, what in ((clean, "clean"), (corrupted, "corrupted"))
    ]
    words = _words(model, pair, answer, against)
    found = points.find(model, hooks) if isinstance(hooks, str) else dict(hooks)
    found = _in_layers(model, found, layers)
    size = len(pair[0]) if by == "pos" else heads_of(found)
    chosen = selection.clipped(at, size, "at")
    places = list(range(size)) if chosen is None else chosen
    baseline = dtypes.to_numpy(model.log_probs(pair, list(words)))
    measured = _metric(metric, baseline)
    clean_value, corrupted_value = map(float, measured(baseline))
    values = _sweep(model, pair, words, list(found), by, places, measured, steps)
    return Sweep(
        values=values,
        hooks=list(found),
        layers=[point.layer for point in found.values()],
        by=by,
        places=places,
        labels=[word(model, pair[1][at]) if by == "pos" else str(at) for at in places],
        metric=metric,
        answer=words[0],
        against=words[1],
        words=(word(model, words[0]), word(model, words[1])),
        clean=clean_value,
        corrupted=corrupted_value,
    )


def heads_of(hooks: Mapping[str, HookPoint]) -> int:
    """The heads that all of the hook points have.

    Raises:
        ArgumentError: one has none.
    """
    sizes = []
    for name, point in hooks.items():
        heads = [axis.size for axis in point.axes if axis.name == "head"]
        if not heads:
            raise errors.ArgumentError(f'{name} has no heads; "z" has')
        sizes.append(heads[0])
    return min(sizes)


def _prompt(model: RemoteModel, prompt: Any, what: str, prepend_bos: bool | None) -> list[int]:
    if isinstance(prompt, str):
        # One that is too long is refused by the server, not cut.
        ids = model.to_tokens(prompt, prepend_bos=prepend_bos is not False, truncate=False)[0]
        found: list[int] = ids.tolist()
        return found
    return one_prompt(token_ids(prompt, what, "text or token ids"), what)


def _words(
    model: RemoteModel, pair: Sequence[list[int]], answer: Any, against: Any
) -> tuple[int, int]:
    """The ids of the two words: those that a user names, or what the model says itself."""
    clean, corrupted = map(len, pair)
    if clean != corrupted:
        raise errors.ArgumentError(
            f"clean has {clean} tokens and corrupted {corrupted}: both must have the same number"
        )
    logits = dtypes.to_numpy(model(list(pair), logits_pos=-1))  # [2, 1, d_vocab]
    if np.isnan(logits).any():
        raise errors.ArgumentError(
            "the model's logits are NaN, so there is no next word to compare"
        )
    chosen = []
    for given, row, what in zip((answer, against), logits, ("answer", "against"), strict=True):
        if isinstance(given, str):
            chosen.append(model.to_single_token(given))
        elif given is None:
            chosen.append(int(row[0].argmax()))
        else:
            chosen.append(selection.integer(given, what, "a word or a token id"))
    if chosen[0] == chosen[1]:
        raise errors.ArgumentError(
            f"both words are {word(model, chosen[0])!r}: name two with answer= and against="
        )
    return chosen[0], chosen[1]


def _in_layers(
    model: RemoteModel, found: dict[str, HookPoint], layers: Any
) -> dict[str, HookPoint]:
    """Those of the hook points that are in the layers."""
    wanted = selection.clipped(layers, model.cfg.n_layers, "layers")
    if wanted is None:
        return found
    chosen = {name: point for name, point in found.items() if point.layer in wanted}
    if not chosen:
        raise errors.ArgumentError(f"{next(iter(found))} and the like do not exist in these layers")
    return chosen


def _metric(name: str, baseline: Array) -> _Metric:
    """From the log-probabilities of two words, [row, 2], to [row].

    Args:
        name: one of `METRICS`.
        baseline: the log-probabilities without a patch, [clean and corrupted, 2].
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
            "there is nothing to recover: both prompts have the same logit difference"
        )
    return lambda found: (_difference(found) - corrupted) / (clean - corrupted)


def _difference(found: Array) -> Array:
    # Of one softmax, so that its normaliser falls out: the difference of the logits.
    difference: Array = found[:, 0].astype(np.float64) - found[:, 1]
    return difference


def _sweep(
    model: RemoteModel,
    pair: Sequence[list[int]],
    words: tuple[int, int],
    hooks: Sequence[str],
    by: str,
    places: Sequence[int],
    measure: _Metric,
    steps: Steps,
) -> Array:
    """The metric of the corrupted prompt after each patch, [hook, place]."""
    clean, corrupted = pair
    rows = _rows_a_run(model, len(clean), len(places))
    runs = [(row, first) for row in range(len(hooks)) for first in range(0, len(places), rows)]
    result = np.empty((len(hooks), len(places)))
    for row, first in steps(runs, "patching"):
        chosen = places[first : first + rows]
        patches = [
            (hooks[row], ops.copy(from_row=0, row=1 + number, **{by: place}))
            for number, place in enumerate(chosen)
        ]
        prompts = [clean, *[corrupted] * len(chosen)]
        found = dtypes.to_numpy(model.log_probs(prompts, list(words), fwd_hooks=patches))
        result[row, first : first + rows] = measure(found[1:])
    return result


def _rows_a_run(model: RemoteModel, length: int, wanted: int) -> int:
    """How many patches fit one run, beside the clean row."""
    limit = model.server.max_tokens
    return max(1, min(wanted, limit // length - 1)) if limit else wanted
