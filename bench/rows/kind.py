"""What every kind of row has in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from bench import agree, measure
from bench.figures import Row, Series
from bench.measure import Effort
from bench.workbench import Workbench

Measure = Callable[[Workbench], tuple[Row, ...]]
"""Measures, and returns one row for each baseline."""

Outputs = dict[str, Tensor]
Side = Callable[[], Outputs]

HOOKWIRE = "Hookwire"
TRANSFORMER_LENS = "TransformerLens"
TRANSFORMERS = "Transformers, eager"


def compare(
    bench: Workbench,
    name: str,
    what: str,
    ours: Side,
    baselines: Mapping[str, Side],
    goals: Mapping[str, float] | None = None,
    note: str = "",
    effort: Effort | None = None,
) -> tuple[Row, ...]:
    """Times Hookwire and its baselines in turn, after all of them returned the same outputs.

    Args:
        bench: how long to measure.
        name: of the rows.
        what: all sides do.
        ours: returns the outputs through Hookwire.
        baselines: return the same, by the label of the row.
        goals: how many times as fast as the baseline Hookwire should be, by label.
        note: of the rows.
        effort: instead of the workbench's.

    Returns:
        A row for each baseline.

    Raises:
        DisagreementError: the outputs are not the same; nothing has been timed.
    """
    expected = ours()
    for baseline in baselines.values():
        agree.require(expected, baseline())
    del expected
    times = measure.durations({HOOKWIRE: ours, **baselines}, effort or bench.effort)
    series = Series(HOOKWIRE, times[HOOKWIRE])
    return tuple(
        Row(
            name,
            what,
            series,
            Series(label, times[label]),
            goal=(goals or {}).get(label),
            note=note,
        )
        for label in baselines
    )
