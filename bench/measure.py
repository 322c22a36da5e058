"""Interleaved repetitions: A B A B …, so that what slows the machine slows every side."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Effort:
    """How long to measure one row.

    Attributes:
        seconds: no further round begins after so long.
        least: rounds in any case.
        most: rounds at most.
        warm_up: rounds that are not counted.
    """

    seconds: float
    least: int
    most: int
    warm_up: int = 2

    @staticmethod
    def full() -> Effort:
        """For figures to be reported."""
        return Effort(seconds=20, least=7, most=101)

    @staticmethod
    def quick() -> Effort:
        """To see that it works."""
        return Effort(seconds=3, least=3, most=15, warm_up=1)


def collect(
    sides: Mapping[str, Callable[[], T]],
    effort: Effort,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[T]]:
    """Calls every side in turn, round after round.

    Args:
        sides: what to call, by name.
        effort: how often.
        clock: seconds.

    Returns:
        What each call returned, warm-up left out, by side.
    """
    for _ in range(effort.warm_up):
        for call in sides.values():
            call()
    results: dict[str, list[T]] = {name: [] for name in sides}
    gc.collect()
    start = clock()
    for done in range(effort.most):
        if done >= effort.least and clock() - start >= effort.seconds:
            break
        for name, call in sides.items():
            results[name].append(call())
    return results


def durations(
    sides: Mapping[str, Callable[[], object]],
    effort: Effort,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, tuple[float, ...]]:
    """The seconds that each call took, by side. What it returned is dropped outside that time."""

    def timed(call: Callable[[], object]) -> Callable[[], float]:
        def run() -> float:
            before = clock()
            result = call()
            seconds = clock() - before
            del result
            return seconds

        return run

    timed_sides = {name: timed(call) for name, call in sides.items()}
    return {name: tuple(values) for name, values in collect(timed_sides, effort, clock).items()}
