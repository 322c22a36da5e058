"""Draws a figure with matplotlib, without pyplot: no window, no global state."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hookwire.plot import extras
from hookwire.plot.figure import Figure, Panel

# Inches.
_CELL = (0.42, 0.3)
_CHARACTER = 0.075
_SMALLEST, _LARGEST = (4.8, 2.8), (40.0, 40.0)
_BESIDE, _ABOVE = 1.9, 1.5  # labels, colour bar; title, labels
_PANELS_A_ROW = 4


def draw(figure: Figure) -> Any:
    """The figure as a `matplotlib.figure.Figure`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    module = extras.load("matplotlib.figure")
    count = len(figure.panels)
    across = min(count, _PANELS_A_ROW)
    down = math.ceil(count / across)
    drawn = module.Figure(figsize=_size(figure, across, down), layout="constrained")
    grid = drawn.subplots(down, across, squeeze=False, sharex=count > 1, sharey=count > 1)
    image = None
    for number, axes in enumerate(grid.flat):
        if number >= count:
            axes.set_visible(False)
            continue
        image = _draw_panel(axes, figure, figure.panels[number])
        if number % across == 0:
            axes.set_ylabel(figure.row_axis)
        if number >= count - across:
            axes.set_xlabel(figure.column_axis)
            # A panel with none below it, in a row that is not full, shows its own labels.
            axes.xaxis.set_tick_params(labelbottom=True)
    drawn.colorbar(image, ax=grid.ravel().tolist(), label=figure.legend)
    if figure.title:
        drawn.suptitle(figure.title, fontsize=11, parse_math=False)
    return drawn


def _size(figure: Figure, across: int, down: int) -> tuple[float, float]:
    """Inches, so that cells can be read."""
    panel = figure.panels[0]
    longest = max((len(cell) for row in panel.text or () for cell in row), default=0)
    rows, columns = panel.values.shape
    width = _BESIDE + across * columns * max(
        _CELL[0] * (1 if longest else 0.6), longest * _CHARACTER
    )
    height = _ABOVE + down * rows * _CELL[1] * (1 if longest else 0.8)
    return (
        min(max(width, _SMALLEST[0]), _LARGEST[0]),
        min(max(height, _SMALLEST[1]), _LARGEST[1]),
    )


def _draw_panel(axes: Any, figure: Figure, panel: Panel) -> Any:
    image = axes.imshow(
        panel.values,
        cmap="RdBu_r" if figure.diverging else "Blues",
        vmin=figure.low,
        vmax=figure.high,
        aspect="auto",
    )
    for (row, column), value in np.ndenumerate(panel.values if panel.text else np.empty((0, 0))):
        assert panel.text is not None
        axes.text(
            column,
            row,
            panel.text[row][column],
            ha="center",
            va="center",
            fontsize=8,
            color="white" if _is_dark(figure, float(value)) else "black",
            parse_math=False,
            clip_on=True,
        )
    axes.set_xticks(range(len(panel.columns)), panel.columns, rotation=45, ha="right", fontsize=9)
    axes.set_yticks(range(len(panel.rows)), panel.rows, fontsize=9)
    for tick in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        tick.set_parse_math(False)
    axes.set_title(panel.title, fontsize=10, parse_math=False)
    return image


def _is_dark(figure: Figure, value: float) -> bool:
    """Whether the colour behind a value needs white ink."""
    share = (value - figure.low) / (figure.high - figure.low)
    return abs(share - 0.5) > 0.3 if figure.diverging else share > 0.6
