"""How the panels of a figure are arranged, in inches; the same for both libraries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hookwire.plot.labels import shortened

if TYPE_CHECKING:
    from hookwire.plot.figure import Figure

POINT = 1 / 72
"""In inches."""
LABEL, _SMALLEST_LABEL = 9.0, 6.5  # points
_PANELS_A_ROW = 4
# What is beside the panels: the name of the axis, a label's character, the colour bar.
_SIDES, _CHARACTER, _BAR, _MARKED_BAR = 0.4, 0.065, 1.2, 1.6
# Of a column: so narrow that the smallest labels do not touch, so wide that more would be waste.
_NARROWEST, _WIDEST, _WIDEST_WITHOUT_TEXT = 0.09, 0.62, 0.3
_BETWEEN = 0.1
# Of the width that a picture may have, what it has at least.
_SMALLEST = 0.6
# Of a row. Where there are many, they are less high.
_LOWEST, _HIGHEST, _ROWS_HEIGHT = 0.135, 0.3, 5.0


@dataclass(frozen=True)
class Grid:
    """Where panels are.

    Attributes:
        across: how many are beside each other.
        down: how many are below each other.
        width: of the picture.
        column: how wide a column of a panel is, about.
        row: how high a row of a panel is to be.
    """

    across: int
    down: int
    width: float
    column: float
    row: float


def arrange(figure: Figure, width: float) -> Grid:
    """Arranges the panels of a figure in a picture that may have a width."""
    panel, count = figure.panels[0], len(figure.panels)
    rows, columns = panel.values.shape
    around = _SIDES + _CHARACTER * max(len(shortened(one)) for one in panel.rows)
    if not is_bar_above(figure):
        around += _MARKED_BAR if figure.scale.marks else _BAR
    fitting = int((width - around) / (columns * _NARROWEST + _BETWEEN))
    across = min(max(fitting, 1), _PANELS_A_ROW, count)
    widest = _WIDEST if panel.text is not None else _WIDEST_WITHOUT_TEXT
    wanted = around + across * (columns * widest + _BETWEEN)
    width = min(max(wanted, _SMALLEST * width), width)
    column = max((width - around) / across - _BETWEEN, 0.1) / columns
    row = max(min(_ROWS_HEIGHT / rows, _HIGHEST), _LOWEST)
    if panel.text is None and panel.rows == panel.columns:
        row = max(min(column, _HIGHEST), _NARROWEST)  # a square
    return Grid(across, math.ceil(count / across), width, column, row)


def is_bar_above(figure: Figure) -> bool:
    """Whether the colour bar lies above the panels, where several need the room beside them."""
    return len(figure.panels) > 1 and not figure.scale.marks


def readable(pitch: float) -> tuple[float, int]:
    """How labels that are `pitch` inches apart can be read.

    Returns:
        Their font's size in points; and n, where only each nth label is shown.
    """
    size = min(max(0.85 * pitch / POINT, _SMALLEST_LABEL), LABEL)
    return size, max(1, math.ceil(size * POINT / pitch - 0.01)) if pitch else 1
