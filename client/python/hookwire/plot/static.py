"""Draws a figure with matplotlib, without pyplot: no window, no global state.

A picture is as wide as a page shows it, so that text is as large on the page as it is meant to be.
What does not fit gives way: there are fewer panels beside each other, labels stand upright, only
some of them are shown, numbers are left out of the cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hookwire.plot import extras, fonts, grid
from hookwire.plot.grid import LABEL, POINT
from hookwire.plot.labels import shortened, wrapped
from hookwire.plot.scale import NOT_FINITE, ink

if TYPE_CHECKING:
    from hookwire.plot.figure import Figure, Panel

# Points.
_TITLE, _BAR = 11.0, 8.0
_CELL = (8.0, 7.0, 6.5)
# Inches.
_LONGEST_BAR, _LOWEST_BAR = 3.6, 1.9
_MOST_HEIGHT = 30.0
_AROUND = 1.2
# Of a letter's height, as a share of the font's size, with the space between lines.
_LINE = 1.15
# Characters that a word is shortened to at least.
_SHORTEST = 4


def draw(figure: Figure, width: float) -> Any:
    """The figure as a `matplotlib.figure.Figure`.

    Args:
        figure: what to draw.
        width: inches that it may be wide.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, families = fonts.drawable(figure)
    with extras.load("matplotlib").rc_context({"font.family": families}):
        return _draw(figure, width)


def _draw(figure: Figure, width: float) -> Any:
    arranged = grid.arrange(figure, width)
    across, down, width = arranged.across, arranged.down, arranged.width
    count = len(figure.panels)
    # A panel, with neither labels nor title.
    tall = max(len(figure.panels[0].rows) * arranged.row, _LOWEST_BAR / down)
    tall = min(tall, _MOST_HEIGHT / down)
    drawn = extras.load("matplotlib.figure").Figure(
        figsize=(width, down * tall + _AROUND), layout="constrained"
    )
    places = drawn.subplots(down, across, squeeze=False, sharex=count > 1, sharey=count > 1)
    images = []
    for number, axes in enumerate(places.flat):
        if number >= count:
            axes.set_visible(False)
            continue
        images.append(_draw_panel(axes, figure, figure.panels[number]))
        if number % across == 0:
            axes.set_ylabel(figure.row_axis)
        if number >= count - across:
            axes.set_xlabel(figure.column_axis)
            # A panel with none below it, in a row that is not full, shows its own labels.
            axes.xaxis.set_tick_params(labelbottom=True)
    _draw_bar(drawn, figure, images[0], places, down * tall)
    if figure.title:
        title = "\n".join(wrapped(figure.title, round(width / 0.095), 3))
        drawn.suptitle(title, fontsize=_TITLE, parse_math=False)
    _fit(drawn, figure, places.flat[:count], arranged, tall)
    return drawn


def _draw_panel(axes: Any, figure: Figure, panel: Panel) -> Any:
    colours = extras.load("matplotlib.colors").LinearSegmentedColormap.from_list(
        "hookwire", figure.scale.stops(), N=1023
    )
    axes.set_title(panel.title, fontsize=LABEL + 1, parse_math=False)
    return axes.imshow(
        np.ma.masked_invalid(panel.values),
        cmap=colours.with_extremes(bad=NOT_FINITE),
        vmin=figure.low,
        vmax=figure.high,
        aspect="auto",
        interpolation="nearest",
    )


def _draw_bar(drawn: Any, figure: Figure, image: Any, places: Any, tall: float) -> None:
    """The colour bar, no longer than needed, at the top."""
    below, above = figure.scale.is_exceeded(np.stack([panel.values for panel in figure.panels]))
    is_above = grid.is_bar_above(figure)
    room = drawn.get_figwidth() if is_above else tall
    long = min(room, _LONGEST_BAR)
    bar = drawn.colorbar(
        image,
        ax=places.ravel().tolist(),
        location="top" if is_above else "right",
        extend={(True, False): "min", (False, True): "max", (True, True): "both"}.get(
            (below, above), "neither"
        ),
        shrink=long / room,
        pad=0.02 if not is_above else 0.15 / tall,
        anchor=(0.5, 0.0) if is_above else (0.0, 1.0),
        aspect=22 * long / _LONGEST_BAR,
    )
    legend = "\n".join(wrapped(figure.legend, round(long / 0.075), 2))
    bar.set_label(legend, fontsize=LABEL, parse_math=False)
    if not figure.scale.marks:
        bar.ax.tick_params(labelsize=_BAR)
        return
    values, texts = zip(*figure.scale.marks, strict=True)
    bar.set_ticks(values, labels=texts)
    for text, at in zip(
        bar.ax.get_yticklabels(), ("bottom", *["center"] * (len(values) - 2), "top"), strict=True
    ):
        text.set(fontsize=_BAR, va=at, parse_math=False)


def _fit(drawn: Any, figure: Figure, panels: Any, arranged: grid.Grid, tall: float) -> None:
    """Chooses labels and the text of cells by the room that there is, and the height of it all.

    Args:
        drawn: the picture.
        figure: what it shows.
        panels: the axes.
        arranged: where they are.
        tall: inches that a panel is to be high.
    """
    panel = figure.panels[0]
    rows, columns = panel.values.shape
    # The others share their labels.
    left, bottom = panels[:: arranged.across], panels[-arranged.across :]
    for axes in left:
        _label_rows(axes, panel, tall / rows)
    for axes in bottom:
        # Upright for now, as that takes the most room.
        _label_columns(axes, panel, 0.0)
    wide = _size(drawn, panels[0])[0] / columns
    for axes in bottom:
        _label_columns(axes, panel, wide)
    size = _size(drawn, panels[0])
    drawn.set_figheight(drawn.get_figheight() + arranged.down * (tall - size[1]))
    for axes, one in zip(panels, figure.panels, strict=True):
        _write_cells(axes, figure, one, size[0] / columns, tall / rows)


def _size(drawn: Any, axes: Any) -> tuple[float, float]:
    """Inches that axes are wide and high, when everything around them has its place."""
    drawn.get_layout_engine().execute(drawn)
    box = axes.get_window_extent()
    return box.width / drawn.dpi, box.height / drawn.dpi


def _label_rows(axes: Any, panel: Panel, pitch: float) -> None:
    """Labels of the rows, as many as can be read; a row is `pitch` inches high."""
    size, step = grid.readable(pitch)
    labels = [shortened(one) for one in panel.rows]
    axes.set_yticks(range(0, len(labels), step), labels[::step], fontsize=size)
    _as_they_are(axes.get_yticklabels())


def _label_columns(axes: Any, panel: Panel, pitch: float) -> None:
    """Labels of the columns, turned as far as they must be; a column is `pitch` inches wide."""
    labels = [shortened(one) for one in panel.columns]
    size, step = grid.readable(pitch)
    if max(_inches(one, LABEL) for one in labels) < 0.9 * pitch:
        options: dict[str, Any] = {"rotation": 0, "ha": "center", "fontsize": LABEL}
    elif pitch > 1.45 * LABEL * POINT:
        options = {"rotation": 45, "ha": "right", "fontsize": LABEL}
    else:
        options = {"rotation": 90, "ha": "center", "fontsize": size}
    axes.set_xticks(range(0, len(labels), step), labels[::step], **options)
    for tick in axes.get_xticklabels():
        tick.set_rotation_mode("anchor" if options["rotation"] == 45 else "default")
    _as_they_are(axes.get_xticklabels())


def _as_they_are(texts: Any) -> None:
    """Lets no "$" begin a formula."""
    for text in texts:
        text.set_parse_math(False)


def _write_cells(axes: Any, figure: Figure, panel: Panel, wide: float, high: float) -> None:
    """Writes into the cells, which are `wide` and `high` inches."""
    cells, size = _fitting(panel, 0.92 * wide, high)
    for row, texts in enumerate(cells):
        for column, text in enumerate(texts):
            axes.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize=size,
                color=ink(figure.scale.colour(float(panel.values[row, column]))),
                parse_math=False,
                clip_on=True,
            )


def _fitting(panel: Panel, wide: float, high: float) -> tuple[list[list[str]], float]:
    """What is written into cells of so many inches, and the font's size."""
    if panel.text is None:
        return [], 0.0
    every = {text for row in panel.text for text in row}
    sizes = [size for size in _CELL if size * _LINE * POINT < high]
    longest = max(_inches(text, 1.0) for text in every)
    for size in sizes:
        if size * longest < wide:
            return [list(row) for row in panel.text], size
    if not panel.is_words or not sizes or wide < _inches("n" * _SHORTEST, sizes[-1]):
        return [], 0.0
    fitting = {text: _shortened_to(text, wide, sizes[-1]) for text in every}
    return [[fitting[text] for text in row] for row in panel.text], sizes[-1]


def _shortened_to(text: str, wide: float, size: float) -> str:
    """The text, shortened until it is less wide than so many inches."""
    shown, characters = text, len(text)
    while _inches(shown, size) > wide and characters > 1:
        characters -= 1
        shown = shortened(text, characters)
    return shown


def _inches(text: str, size: float) -> float:
    """How wide a line of text is, at a font's size in points."""
    if not text:
        return 0.0
    font = extras.load("matplotlib.font_manager").FontProperties(size=size)
    path = extras.load("matplotlib.textpath").text_to_path
    wide, _, _ = path.get_text_width_height_descent(text, font, ismath=False)
    return float(wide) * POINT
