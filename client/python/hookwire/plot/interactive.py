"""Draws a figure with plotly."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from hookwire.plot import extras, grid
from hookwire.plot.grid import POINT
from hookwire.plot.labels import Format, shortened, wrapped
from hookwire.plot.scale import NOT_FINITE, Colour

if TYPE_CHECKING:
    from hookwire.plot.figure import Figure, Panel

# Pixels.
_INCH, _SMALLEST, _CHARACTER = 89, 130, 7.5
_AROUND, _BETWEEN = 180, 40  # of plotly's margins, and with a panel's title
_LONGEST_BAR = 320


def draw(figure: Figure, width: float) -> Any:
    """The figure as a `plotly.graph_objects.Figure`.

    Args:
        figure: what to draw.
        width: inches that it may be wide.

    Raises:
        MissingExtraError: plotly is not installed.
    """
    objects = extras.load("plotly.graph_objects")
    subplots = extras.load("plotly.subplots")
    count = len(figure.panels)
    arranged = grid.arrange(figure, width)
    across, down = arranged.across, arranged.down
    tall = max(_SMALLEST, _INCH * arranged.row * len(figure.panels[0].rows))
    height = down * tall + (down - 1) * _BETWEEN
    row = tall / _INCH / len(figure.panels[0].rows)
    drawn = subplots.make_subplots(
        rows=down,
        cols=across,
        subplot_titles=[_escaped(panel.title) for panel in figure.panels] if count > 1 else None,
        shared_xaxes="all" if count > 1 else False,
        shared_yaxes="all" if count > 1 else False,
        horizontal_spacing=0.03,
        vertical_spacing=_BETWEEN / height,
    )
    for number, panel in enumerate(figure.panels):
        place = {"row": number // across + 1, "col": number % across + 1}
        is_written = _fits(panel, _INCH * arranged.column)
        drawn.add_trace(objects.Heatmap(_trace(figure, panel, is_written)), **place)
        # Numbers with labels, for a category axis would put equal tokens in one place.
        drawn.update_xaxes(_axis(panel.columns, arranged.column), **place)
        drawn.update_yaxes(_axis(panel.rows, row), autorange="reversed", **place)
        if number % across == 0:
            drawn.update_yaxes(title_text=figure.row_axis, **place)
        if number >= count - across:
            drawn.update_xaxes(title_text=figure.column_axis, showticklabels=True, **place)
    drawn.update_layout(
        title_text=_lines(wrapped(figure.title, 95, 3)),
        coloraxis={
            "colorscale": [[at, _rgb(colour)] for at, colour in figure.scale.stops()],
            "cmin": figure.low,
            "cmax": figure.high,
            "colorbar": _bar(figure, height),
        },
        # Seen where a cell has no colour: the value is NaN or infinite.
        plot_bgcolor=_rgb(NOT_FINITE),
        height=_AROUND + height,
    )
    return drawn


def _bar(figure: Figure, tall: float) -> dict[str, Any]:
    long = min(tall, _LONGEST_BAR)
    legend = _lines(wrapped(figure.legend, int(long / _CHARACTER), 2))
    bar: dict[str, Any] = {
        "title": {"text": legend, "side": "right"},
        "lenmode": "pixels",
        "len": long + 30,  # with its padding
        "y": 1,
        "yanchor": "top",
    }
    if figure.scale.marks:
        values, texts = zip(*figure.scale.marks, strict=True)
        bar.update(
            tickmode="array",
            tickvals=values,
            ticktext=[_lines(text.splitlines()) for text in texts],
        )
    return bar


def _fits(panel: Panel, wide: float) -> bool:
    """Whether text fits into cells that are so many pixels wide."""
    longest = max((len(text) for row in panel.text or () for text in row), default=0)
    return 0 < longest * _CHARACTER <= wide


def _trace(figure: Figure, panel: Panel, is_written: bool) -> dict[str, Any]:
    rows, columns = map(_all_escaped, (panel.rows, panel.columns))
    shown = Format(figure.scale.largest, more=2)
    trace: dict[str, Any] = {
        "z": panel.values,
        "coloraxis": "coloraxis",
        "customdata": [
            [[row, column, shown(value)] for column, value in zip(columns, values, strict=True)]
            for row, values in zip(rows, panel.values.tolist(), strict=True)
        ],
        "hovertemplate": (
            f"{figure.row_axis} %{{customdata[0]}}<br>{figure.column_axis or 'position'} %{{x}}: "
            "%{customdata[1]}<br>%{customdata[2]}"
        ),
    }
    if panel.text is not None:
        trace["text"] = [_all_escaped(row) for row in panel.text]
        if is_written:
            trace["texttemplate"] = "%{text}"
        if panel.is_words:
            trace["hovertemplate"] += "<br>%{text}"
    trace["hovertemplate"] += "<extra></extra>"
    return trace


def _axis(labels: tuple[str, ...], pitch: float) -> dict[str, Any]:
    """An axis whose labels are `pitch` inches apart."""
    size, step = grid.readable(pitch)
    return {
        "tickmode": "array",
        "tickvals": list(range(0, len(labels), step)),
        "ticktext": [_escaped(shortened(one)) for one in labels[::step]],
        "tickfont": {"size": size * POINT * _INCH},
        "autotickangles": [0, 45, 90],
        "showgrid": False,
        "zeroline": False,
    }


def _rgb(colour: Colour) -> str:
    return f"rgb({','.join(str(round(255 * channel)) for channel in colour)})"


def _lines(lines: list[str]) -> str:
    return "<br>".join(map(_escaped, lines))


def _escaped(text: str) -> str:
    """The text, for plotly reads "<bos>" as a tag."""
    return html.escape(text, quote=False)


def _all_escaped(texts: tuple[str, ...]) -> list[str]:
    return [_escaped(text) for text in texts]
