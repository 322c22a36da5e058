"""Draws a figure with plotly."""

from __future__ import annotations

import html
import math
from typing import Any

from hookwire.plot import extras
from hookwire.plot.figure import Figure, Panel

_PANELS_A_ROW = 4
# Pixels.
_CELL, _SMALLEST, _AROUND = 26, 320, 150


def draw(figure: Figure) -> Any:
    """The figure as a `plotly.graph_objects.Figure`.

    Raises:
        MissingExtraError: plotly is not installed.
    """
    objects = extras.load("plotly.graph_objects")
    subplots = extras.load("plotly.subplots")
    count = len(figure.panels)
    across = min(count, _PANELS_A_ROW)
    down = math.ceil(count / across)
    drawn = subplots.make_subplots(
        rows=down,
        cols=across,
        subplot_titles=[_escaped(panel.title) for panel in figure.panels] if count > 1 else None,
        shared_xaxes="all" if count > 1 else False,
        shared_yaxes="all" if count > 1 else False,
    )
    for number, panel in enumerate(figure.panels):
        place = {"row": number // across + 1, "col": number % across + 1}
        drawn.add_trace(objects.Heatmap(_trace(figure, panel)), **place)
        # Numbers with labels, for a category axis would put equal tokens in one place.
        drawn.update_xaxes(_axis(panel.columns), tickangle=-45, **place)
        drawn.update_yaxes(_axis(panel.rows), autorange="reversed", **place)
        if number % across == 0:
            drawn.update_yaxes(title_text=figure.row_axis, **place)
        if number >= count - across:
            drawn.update_xaxes(title_text=figure.column_axis, showticklabels=True, **place)
    drawn.update_layout(
        title_text=_escaped(figure.title),
        coloraxis={
            "colorscale": "RdBu_r" if figure.diverging else "Blues",
            "cmin": figure.low,
            "cmax": figure.high,
            "colorbar": {"title": {"text": _escaped(figure.legend), "side": "right"}},
        },
        height=_AROUND + down * max(_SMALLEST, _CELL * len(figure.panels[0].rows)),
    )
    return drawn


def _trace(figure: Figure, panel: Panel) -> dict[str, Any]:
    rows, columns = map(_all_escaped, (panel.rows, panel.columns))
    trace: dict[str, Any] = {
        "z": panel.values,
        "coloraxis": "coloraxis",
        "customdata": [[[row, column] for column in columns] for row in rows],
        "hovertemplate": (
            f"{figure.row_axis} %{{customdata[0]}}<br>{figure.column_axis or 'position'} %{{x}}: "
            "%{customdata[1]}<br>%{z:.4g}"
        ),
    }
    if panel.text is not None:
        trace["text"] = [_all_escaped(row) for row in panel.text]
        trace["texttemplate"] = "%{text}"
        trace["hovertemplate"] += "<br>%{text}"
    trace["hovertemplate"] += "<extra></extra>"
    return trace


def _axis(labels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "tickmode": "array",
        "tickvals": list(range(len(labels))),
        "ticktext": _all_escaped(labels),
    }


def _escaped(text: str) -> str:
    """The text, for plotly reads "<bos>" as a tag."""
    return html.escape(text, quote=False)


def _all_escaped(texts: tuple[str, ...]) -> list[str]:
    return [_escaped(text) for text in texts]
