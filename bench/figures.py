"""Series of measurements, and the rows that compare them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from enum import Enum


class Unit(Enum):
    """What a series counts."""

    SECONDS = "s"
    BYTES_PER_SECOND = "B/s"
    BYTES = "B"
    RUNS_PER_SECOND = "runs/s"
    TOKENS_PER_SECOND = "tokens/s"


@dataclass(frozen=True)
class Series:
    """Repetitions of one measurement.

    Attributes:
        label: what was measured, for readers.
        values: one for each repetition; at least one.
        unit: of the values.
        quantile: what stands for the series: its median, or such as 0.99 for what one repetition in
            a hundred exceeds.
    """

    label: str
    values: tuple[float, ...]
    unit: Unit = Unit.SECONDS
    quantile: float = 0.5

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"{self.label}: a series needs at least one value")

    @property
    def median(self) -> float:
        """The middle value, or the mean of the two middle ones."""
        return statistics.median(self.values)

    @property
    def value(self) -> float:
        """What stands for the series: between two values, their weighted mean."""
        ordered = sorted(self.values)
        place = self.quantile * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    @property
    def quartiles(self) -> tuple[float, float]:
        """A quarter of the values lie below the first, a quarter above the second."""
        if len(self.values) == 1:
            return self.values[0], self.values[0]
        first, _, third = statistics.quantiles(self.values, n=4, method="inclusive")
        return first, third


class Kind(Enum):
    """How a row's figure is made, and which way is good."""

    SPEED_UP = "times as fast"
    """Baseline's time over ours, or our rate over the baseline's; good above the goal."""
    COST = "times the cost"
    """Ours over the baseline's; good below the goal."""
    BOUND = "at most"
    """Ours alone, in its own unit; good below the goal."""


@dataclass(frozen=True)
class LeftOut:
    """A row that this machine cannot measure.

    Attributes:
        name: of the row.
        why: for readers.
    """

    name: str
    why: str


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: what `--only` takes, such as "hook/mid".
        what: what both sides do.
        ours: Hookwire's measurements.
        baseline: of what it is compared with; None for a bound, or where there is nothing like it.
        kind: how the figure is made.
        goal: what the figure should reach; None where there is none.
        note: what a reader should know about this run's figures.
        clients: of a row of a curve: how many there were.
    """

    name: str
    what: str
    ours: Series
    baseline: Series | None = None
    kind: Kind = Kind.SPEED_UP
    goal: float | None = None
    note: str = ""
    clients: int | None = None

    def __post_init__(self) -> None:
        if self.baseline is not None and self.baseline.unit is not self.ours.unit:
            raise ValueError(f"{self.name}: {self.baseline.unit} cannot be compared with ours")

    @property
    def figure(self) -> float | None:
        """What is held against the goal; None without a baseline, but for a bound."""
        if self.kind is Kind.BOUND:
            return self.ours.value
        if self.baseline is None:
            return None
        ours, theirs = self.ours.value, self.baseline.value
        if self.kind is Kind.SPEED_UP and self.ours.unit is Unit.SECONDS:
            return theirs / ours
        return ours / theirs

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is nothing to reach."""
        figure = self.figure
        if figure is None or self.goal is None:
            return None
        return figure >= self.goal if self.kind is Kind.SPEED_UP else figure <= self.goal
