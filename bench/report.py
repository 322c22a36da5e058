"""Rows as text for a terminal, as Markdown, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.figures import Kind, LeftOut, Row, Series, Unit

HEADINGS = ("row", "what", "Hookwire", "against", "", "ratio", "goal", "")
BEGIN, END = "<!-- figures: ./run bench --into -->", "<!-- end of the figures -->"
"""What `put_into` looks for."""

_LEFT = (0, 1, 3)
_MARKS = {True: "✓", False: "✗", None: ""}
_STEPS = {
    Unit.SECONDS: ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    Unit.BYTES: ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
    Unit.BYTES_PER_SECOND: ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1.0, "B/s")),
    Unit.RUNS_PER_SECOND: ((1.0, "runs/s"),),
    Unit.TOKENS_PER_SECOND: ((1.0, "tokens/s"),),
}


def amount(value: float, unit: Unit) -> str:
    """A value in the largest step of its unit that leaves it at one or more."""
    steps = _STEPS[unit]
    size, name = next((step for step in steps if abs(value) >= step[0]), steps[-1])
    scaled = value / size
    digits = 2 if abs(scaled) < 10 else 1 if abs(scaled) < 100 else 0
    return f"{scaled:.{digits}f} {name}"


def spread(series: Series) -> str:
    """The median, and the quartiles as the distance that holds half of the repetitions.

    Of a series that something else stands for, that alone.
    """
    if len(series.values) < 3 or series.quantile != 0.5:
        return amount(series.value, series.unit)
    first, third = series.quartiles
    half = (third - first) / 2 / series.median if series.median else 0.0
    return f"{amount(series.median, series.unit)} ±{half:.0%}"


def figure(row: Row) -> str:
    """What is held against the goal."""
    if row.figure is None:
        return ""
    return "" if row.kind is Kind.BOUND else f"{row.figure:.2f}×"


def goal(row: Row) -> str:
    """What the row should reach."""
    if row.goal is None:
        return ""
    if row.kind is Kind.BOUND:
        return f"≤ {amount(row.goal, row.ours.unit)}"
    return f"{'≥' if row.kind is Kind.SPEED_UP else '≤'} {row.goal:g}×"


def cells(row: Row) -> tuple[str, ...]:
    """A row as text, in the order of `HEADINGS`."""
    label, theirs = "", ""
    if row.baseline is not None:
        label, theirs = row.baseline.label, spread(row.baseline)
    return (
        row.name,
        row.what,
        spread(row.ours),
        label,
        theirs,
        figure(row),
        goal(row),
        _MARKS[row.met],
    )


def text(machine: Mapping[str, str], rows: Sequence[Row], left_out: Sequence[LeftOut] = ()) -> str:
    """The machine, aligned columns for a terminal, the notes, and what was left out."""
    width = max(map(len, machine), default=0) + 1
    about = [f"{what + ':':{width}} {value}" for what, value in machine.items()]
    told = [f"{name}: {note}" for name, note in notes(rows)]
    told += [f"{one.name}: left out: {one.why}" for one in left_out]
    return "\n".join([*about, "", *table(rows), "", *told])


def table(rows: Sequence[Row]) -> list[str]:
    """The lines of a table whose columns are aligned."""
    lines = [HEADINGS, *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    aligned = []
    for line in lines:
        padded = (
            cell.ljust(width) if column in _LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        aligned.append("  ".join(padded).rstrip())
    return aligned


def markdown(
    machine: Mapping[str, str], rows: Sequence[Row], left_out: Sequence[LeftOut] = ()
) -> str:
    """The same as Markdown."""
    rule = tuple(":--" if column in _LEFT else "--:" for column in range(len(HEADINGS)))
    body = [HEADINGS, rule, *(cells(row) for row in rows)]
    lines = [f"| {' | '.join(line)} |" for line in body]
    about = ", ".join(f"{what} {value}" for what, value in machine.items())
    told = [f"- `{name}`: {note}" for name, note in notes(rows)]
    told += [f"- `{one.name}`: left out: {one.why}" for one in left_out]
    return "\n".join([f"Measured on: {about}.", "", *lines, "", *told])


def put_into(document: str, figures: str) -> str:
    """A document with the figures between its marks, in place of those that were there.

    Raises:
        ValueError: it does not have the marks.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no {BEGIN} … {END}")
    return f"{before}{begin}\n\n{figures.rstrip()}\n\n{end}{after}"


def notes(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Each note once, with the name of the row that it belongs to."""
    return list(dict.fromkeys((row.name, row.note) for row in rows if row.note))


def as_json(
    machine: Mapping[str, str], rows: Sequence[Row], left_out: Sequence[LeftOut] = ()
) -> dict[str, Any]:
    """Everything, every repetition included."""
    return {
        "machine": dict(machine),
        "rows": [_row_as_json(row) for row in rows],
        "left_out": [{"name": one.name, "why": one.why} for one in left_out],
    }


def _row_as_json(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "what": row.what,
        "kind": row.kind.value,
        "ours": _series_as_json(row.ours),
        "baseline": row.baseline and _series_as_json(row.baseline),
        "figure": row.figure,
        "goal": row.goal,
        "met": row.met,
        "note": row.note,
        "clients": row.clients,
    }


def _series_as_json(series: Series) -> dict[str, Any]:
    return {
        "label": series.label,
        "unit": series.unit.value,
        "median": series.median,
        "quantile": series.quantile,
        "value": series.value,
        "quartiles": series.quartiles,
        "values": series.values,
    }
