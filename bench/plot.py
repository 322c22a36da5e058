"""Curves over the number of clients, as a picture."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.figures import Row, Series, Unit

DPI = 110
_STYLES = (("#4051b5", "o"), ("#8a8a8a", "s"))


def curves(rows: Sequence[Row]) -> Figure:
    """Runs a second, and what a run takes: its median and its 99th percentile.

    Args:
        rows: of which those of a curve are drawn.

    Raises:
        ValueError: there are none.
    """
    points = [row for row in rows if row.clients is not None]
    rates = [row for row in points if row.ours.unit is Unit.RUNS_PER_SECOND]
    times = [row for row in points if row.ours.unit is Unit.SECONDS]
    if not rates or not times:
        raise ValueError("there is no curve among the rows: measure --only curve")
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    _draw(left, rates, "median", "", "-")
    left.set_ylabel("runs a second")
    left.set_ylim(bottom=0)
    _draw(right, times, "median", ", median", "-")
    _draw(right, times, "value", ", 99th percentile", ":")
    right.set_ylabel("seconds a run takes")
    right.set_yscale("log")
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        counts = [row.clients for row in rates]
        axes.set_xticks(counts, labels=list(map(str, counts)))
        axes.set_xlabel("clients")
        axes.grid(alpha=0.3)
        # Above the axes, where no line is.
        axes.legend(
            fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False
        )
    return figure


def _draw(axes: Axes, rows: Sequence[Row], what: str, suffix: str, line: str) -> None:
    """A line for either side, through what each series has under the name `what`."""
    clients = [float(row.clients or 0) for row in rows]
    for side, (colour, marker) in zip(("ours", "baseline"), _STYLES, strict=True):
        series: list[Series] = [getattr(row, side) for row in rows]
        values = [getattr(one, what) for one in series]
        style = f"{marker}{line}"
        axes.plot(clients, values, style, color=colour, label=f"{series[0].label}{suffix}", ms=4)
