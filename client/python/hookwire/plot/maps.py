"""The figures: matrices over layers, positions and heads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hookwire import errors
from hookwire.errors import arguments, wording
from hookwire.facts import dtypes, selection
from hookwire.facts.dtypes import Array
from hookwire.plot import extras, scale
from hookwire.plot.figure import Figure, Panel
from hookwire.plot.labels import Format, label

Save = str | Path | None
# Numbers in more cells than this would not be read, however large the picture.
_READABLE_CELLS = 5000
# How far beyond 1 the rounding of bfloat16 carries a pattern.
_ROUNDING = 0.01


@arguments.checked("plot.heatmap")
def heatmap(
    values: Any,
    *,
    tokens: Sequence[str] | None = None,
    layers: Sequence[Any] | None = None,
    title: str = "",
    legend: str = "",
    text: Sequence[Sequence[str]] | bool | None = None,
    low: float | None = None,
    high: float | None = None,
    white: float | None = None,
    row_axis: str = "layer",
    column_axis: str = "",
    save: Save = None,
) -> Figure:
    """Draws a heat map over layers × positions.

    If values have both signs, colours go from blue (below 0) through white to red (above 0),
    equally far to both sides; otherwise from white to blue. NaN and infinity are grey.

    Args:
        values: [layer, pos], real numbers.
        tokens: a label for each position. Default: its number.
        layers: a label for each row. Default: its number.
        title: the text above the map.
        legend: the label of the colour bar.
        text: the text of each cell, [layer, pos]; True: the value; False: no text. Default: the
            value, if there are at most 5,000 cells. Numbers that do not fit into their cells are
            left out; other text is shortened.
        low: the value at the lower end of the colours. Default: the lowest.
        high: the value at the upper end. Default: the highest.
        white: the value that is white; values below it are blue, and values above it red. Default:
            0, if values (or `low` and `high`) have both signs. If an end is not given, it is as far
            from white as the farthest value.
        row_axis: the label of the vertical axis.
        column_axis: the label of the horizontal axis.
        save: also write the picture to this path, as `Figure.save` does. Default: do not.

    Returns:
        The picture.

    Raises:
        ArgumentError: values that are not [layer, pos], a wrong number of labels, or ends of the
            colours in the wrong order.
        MissingExtraError: neither matplotlib nor plotly is installed.
    """
    extras.require_any()
    matrix = _real(values, 2, "values must be [layer, pos]")
    colours = scale.spread(matrix, low, high, white)
    panel = _panel(matrix, layers, tokens, text, "layers", "tokens", colours)
    return _saved(Figure((panel,), title, row_axis, column_axis, legend, colours), save)


@arguments.checked("plot.patching")
def patching(
    values: Any,
    *,
    tokens: Sequence[str] | None = None,
    clean: float | None = None,
    corrupted: float | None = None,
    layers: Sequence[Any] | None = None,
    metric: str = "",
    hook: str = "",
    title: str | None = None,
    column_axis: str = "",
    save: Save = None,
) -> Figure:
    """Draws the effect of patching at each layer and position, or layer and head.

    White is the value of the corrupted run, so a patch without effect is white. The colours end at
    the value of the clean run, and equally far on the other side. So all maps of one metric have
    the same scale, and noise stays pale. If a patch goes more than a tenth farther than the clean
    run, the colours end at the farthest patch. The colour bar shows these values.

    Args:
        values: the metric after each patch, [layer, pos] or [layer, head].
        tokens: the corrupted prompt's tokens, a label for each column. Default: its number.
        clean: the metric of the clean run. Default: unknown; the colours then end at the farthest
            patch.
        corrupted: the metric of the corrupted run without a patch. Default: 0, which is right for
            metrics such as the share of the effect that a patch recovers.
        layers: a label for each row. Default: its number.
        metric: what the values are, such as "logit(Mary) − logit(John)".
        hook: the hook point that was patched, for the title.
        title: the text above the map. Default: a title that names the hook point.
        column_axis: the label of the horizontal axis, such as "head".
        save: also write the picture to this path, as `Figure.save` does. Default: do not.

    Returns:
        The picture.

    Raises:
        ArgumentError: as in `heatmap`.
        MissingExtraError: neither matplotlib nor plotly is installed.
    """
    extras.require_any()
    matrix = _real(values, 2, "values must be [layer, pos]")
    colours = scale.patching(matrix, clean, corrupted)
    panel = _panel(matrix, layers, tokens, True, "layers", "tokens", colours)
    if title is None:
        title = f"{hook or 'activations'}, copied from the clean run into the corrupted one"
    return _saved(Figure((panel,), title, "layer", column_axis, metric, colours), save)


@arguments.checked("plot.attention")
def attention(
    pattern: Any,
    *,
    tokens: Sequence[str],
    head: int | Sequence[int] | None = None,
    title: str = "",
    legend: str = "attention",
    high: float | None = None,
    save: Save = None,
) -> Figure:
    """Draws attention patterns: a panel for each head, queries down and keys across.

    Args:
        pattern: of one layer, such as `cache["pattern", 5]`: [head, pos, key_pos] or
            [1, head, pos, key_pos]; or of one head, [pos, key_pos].
        tokens: the prompt's tokens, a label for each position.
        head: the heads to show, an int or a list. Default: all.
        title: the text above the panels.
        legend: the label of the colour bar.
        high: the value at the upper end of the colours. Default: 1 for patterns, so that all have
            one scale; for scores, the largest distance from 0.
        save: also write the picture to this path, as `Figure.save` does. Default: do not.

    Returns:
        The picture.

    Raises:
        HeadOutOfRangeError: the pattern does not have a head (it is an IndexError).
        ArgumentError: a pattern of another shape, or a wrong number of tokens.
        MissingExtraError: neither matplotlib nor plotly is installed.
    """
    extras.require_any()
    heads = _array(pattern)
    if heads.ndim == 4 and len(heads) == 1:
        heads = heads[0]
    if heads.ndim == 2:
        heads = heads[None]
    heads = _real(heads, 3, "a pattern must be [head, pos, key_pos] of one row")
    if head is None:
        chosen = list(range(len(heads)))
    else:
        chosen = list(head) if isinstance(head, Sequence) else [head]
    is_pattern = heads.min() >= 0 and heads.max() <= 1 + _ROUNDING
    if is_pattern:
        colours = scale.spread(heads, 0.0, 1.0 if high is None else high)
    else:
        colours = scale.spread(heads, None, high, 0.0)
    panels = []
    for given in chosen:
        number = selection.integer(given, "head", "an int or a list of ints")
        if not -len(heads) <= number < len(heads):
            raise errors.HeadOutOfRangeError(
                f"head={number} is outside the {len(heads)} heads of the pattern"
            )
        name = f"head {number % len(heads)}" if len(heads) > 1 else ""
        panels.append(
            _panel(heads[number], tokens, tokens, False, "tokens", "tokens", colours, title=name)
        )
    return _saved(Figure(tuple(panels), title, "query", "key", legend, colours), save)


@arguments.checked("plot.lens")
def lens(
    words: Sequence[Sequence[str]],
    probabilities: Any,
    *,
    tokens: Sequence[str],
    layers: Sequence[Any] | None = None,
    title: str = "Logit lens: the most likely next word after each layer",
    save: Save = None,
) -> Figure:
    """Draws the logit lens: what the model would answer if it ended after each layer.

    Args:
        words: the most likely words, [layer, pos]; `top_words` returns them.
        probabilities: their probabilities, [layer, pos].
        tokens: the prompt's tokens, a label for each position.
        layers: a label for each row. Default: its number.
        title: the text above the map.
        save: also write the picture to this path, as `Figure.save` does. Default: do not.

    Returns:
        The picture.

    Raises:
        ArgumentError: as in `heatmap`.
        MissingExtraError: neither matplotlib nor plotly is installed.
    """
    return heatmap(
        probabilities,
        tokens=tokens,
        layers=layers,
        title=title,
        legend="probability",
        text=words,
        low=0.0,
        high=1.0,
        save=save,
    )


def _array(values: Any) -> Array:
    """The values, float64."""
    try:
        array: Array = dtypes.to_numpy(values)
        return array.astype(np.float64)
    except (TypeError, ValueError):
        raise errors.ArgumentTypeError(
            f"values must be real numbers, not {errors.shown(values)}"
        ) from None


def _real(values: Any, rank: int, what: str) -> Array:
    array = _array(values)
    if array.ndim != rank or 0 in array.shape:
        raise errors.ArgumentError(f"{what}, not {list(array.shape)}")
    return array


def _labels(given: Sequence[Any] | None, count: int, what: str, size: str) -> tuple[str, ...]:
    if given is None:
        return tuple(map(str, range(count)))
    if isinstance(given, str) or not dtypes.is_iterable(given):
        raise errors.ArgumentTypeError(f"{what} must be a list of labels, not {given!r:.60}")
    given = list(given)
    if len(given) != count:
        raise errors.ArgumentError(
            f"{what} has {wording.counted(len(given), 'label')} for {count} {size}"
        )
    return tuple(label(str(one)) for one in given)


def _panel(
    matrix: Array,
    rows: Sequence[Any] | None,
    columns: Sequence[Any] | None,
    text: Sequence[Sequence[str]] | bool | None,
    rows_are: str,
    columns_are: str,
    colours: scale.Scale,
    title: str = "",
) -> Panel:
    if text is None:
        text = matrix.size <= _READABLE_CELLS
    cells: tuple[tuple[str, ...], ...] | None
    if isinstance(text, bool):
        shown = Format(colours.largest, signed=colours.white is not None)
        cells = tuple(tuple(shown(one) for one in row) for row in matrix.tolist()) if text else None
    else:
        cells = tuple(tuple(label(str(cell)) for cell in row) for row in text)
        if [len(row) for row in cells] != [matrix.shape[1]] * len(matrix):
            raise errors.ArgumentError(
                f"text must have the shape of the values, {list(matrix.shape)}"
            )
    return Panel(
        matrix,
        _labels(rows, len(matrix), rows_are, "rows"),
        _labels(columns, matrix.shape[1], columns_are, "columns"),
        cells,
        title,
        is_words=not isinstance(text, bool),
    )


def _saved(figure: Figure, save: Save) -> Figure:
    if save is not None:
        figure.save(save)
    return figure
