"""What every kind of row has in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from bench import agree, measure
from bench.checkpoints import Checkpoint
from bench.exact import in_float32
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
    exact: Side | None = None,
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
        exact: of a computation in bfloat16: returns the same without rounding, in float32.

    Returns:
        A row for each baseline.

    Raises:
        DisagreementError: the outputs are not the same; nothing has been timed.
    """
    require_agreement(ours(), [baseline() for baseline in baselines.values()], exact)
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


def unrounded(checkpoint: Checkpoint, compute: Side) -> Side | None:
    """`exact` of `compare`: None where sides compute in float32.

    Args:
        checkpoint: which sides compute.
        compute: of a baseline in this process.
    """
    return None if checkpoint.dtype is torch.float32 else lambda: in_float32(compute)


def require_agreement(ours: Outputs, theirs: Sequence[Outputs], exact: Side | None) -> None:
    """Holds outputs against those of each baseline, by the rule for their dtype.

    Raises:
        DisagreementError: they are not the same.
    """
    truth = None if exact is None else exact()
    for outputs in theirs:
        if truth is None:
            agree.require(ours, outputs)
        else:
            agree.require_rounded(ours, outputs, truth)
