"""How `map` goes over its prompts: which of them share a run, and what each of them gets."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hookwire import errors, ops
from hookwire.answer import progress
from hookwire.api.calls import Map, RunWithCache
from hookwire.api.preparing import batch_of
from hookwire.api.session import Session
from hookwire.api.standing import HooksInForce
from hookwire.ask import hooks

if TYPE_CHECKING:
    from typing_extensions import Self

BUSY = (
    errors.QueueFullError,
    errors.QueueTimeoutError,
    errors.RequestMemoryFullError,
    errors.TooManyCallsError,
)
"""The errors of a server that has no room for another run at the moment."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds to wait before a refused run is sent again: at first, and at most."""

# So many batches of prompts are looked at together, to find those of one length.
_BATCHES_AHEAD = 8


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    Attributes:
        number: counted from 0.
        given: as the user gave it.
        tokens: its ids.
    """

    number: int
    given: Any
    tokens: list[int]


def windows(model: Session, call: Map) -> Iterator[list[Prompt]]:
    """The prompts, as many at a time as are looked at together.

    Raises:
        HookwireError: one is not a prompt; the message says which.
    """
    prompts = enumerate(call.prompts)
    while ahead := list(itertools.islice(prompts, call.batch_size * _BATCHES_AHEAD)):
        yield [_prompt(model, call, number, given) for number, given in ahead]


def _prompt(model: Session, call: Map, number: int, given: Any) -> Prompt:
    try:
        rows = batch_of(model, call, given, "the prompt").rows
        if len(rows) != 1:
            raise errors.ArgumentError(f"each prompt is a run of one row, and this has {len(rows)}")
    except errors.HookwireError as error:
        raise blamed(error, number, given) from error.__cause__
    return Prompt(number, given, rows[0])


def batches(window: Sequence[Prompt], size: int) -> Iterator[list[Prompt]]:
    """Prompts that share a run: as many as `size`, of one length, so that none is padded."""
    by_length: dict[int, list[Prompt]] = {}
    for prompt in window:
        by_length.setdefault(len(prompt.tokens), []).append(prompt)
    for alike in by_length.values():
        for at in range(0, len(alike), size):
            yield alike[at : at + size]


def batch_size(call: Map, standing: HooksInForce) -> int:
    """How many prompts may share a run.

    A function, an op with rows, and a value that may have one part a row must see each prompt by
    itself, as they would in a run of its own.
    """
    changes = [what for _, what in (*standing, *hooks.pairs(call.fwd_hooks))]
    return call.batch_size if all(map(_is_the_same_for_all, changes)) else 1


def _is_the_same_for_all(change: hooks.Change) -> bool:
    if not isinstance(change, ops.Op) or change.row is not None or change.source is not None:
        return False
    return len(getattr(change.sent, "shape", ())) <= 1


def run_of(call: Map, batch: Sequence[Prompt]) -> RunWithCache:
    """The run of some prompts."""
    return call.run([prompt.tokens for prompt in batch])


def blamed(error: errors.HookwireError, number: int, given: Any) -> errors.HookwireError:
    """The error, with the number and text of the prompt that caused it."""
    error.metadata["prompt"] = str(number)
    error.set_message(f"{error.message} (prompt {number}: {errors.shown(given)})")
    return error


class Bar:
    """A bar of prompts. None where nobody would see it, unless `progress=True`."""

    def __init__(self, call: Map) -> None:
        total = len(call.prompts) if hasattr(call.prompts, "__len__") else None
        self._bar = progress.bar(call.progress, total=total, unit="prompt")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, count: int) -> None:
        """Shows that `count` more prompts are done."""
        if self._bar is not None:
            self._bar.update(count)
