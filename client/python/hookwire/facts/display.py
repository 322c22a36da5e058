"""How values are shown: sizes, and small tables for notebooks."""

from __future__ import annotations

import html
from collections.abc import Sequence

# A longer table shows its beginning and its end.
_FIRST, _LAST = 40, 10
# In a page without a doctype, a table does not take these from the text around it.
_STYLE = "color: inherit; font: inherit"
_CELL = "text-align: left; padding: 0.1em 1em 0.1em 0"


def size(count: int) -> str:
    """Bytes, readable."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def shape(sizes: Sequence[object]) -> str:
    """The axes of a tensor, such as "1×15×64"."""
    return "×".join(map(str, sizes))


def shortened(items: Sequence[object], first: int = 3, last: int = 1) -> str:
    """The `repr` of each item in a list; of a long one the first and the last items only."""
    shown = [*map(repr, items)]
    more = len(shown) - first - last
    if more > 1:
        shown = [*map(repr, items[:first]), f"… {more} more …", *map(repr, items[-last:])]
    return f"[{', '.join(shown)}]"


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """An HTML table for `_repr_html_`.

    A dark page and a light one both show it in their own colours, those of text around it.

    Args:
        title: what stands above it.
        header: the names of the columns; none: the first column has names of values.
        rows: what is shown, as text. All of it is escaped.
    """
    lines = [*map(_row, rows)]
    more = len(lines) - _FIRST - _LAST
    if more > 1:
        lines[_FIRST:-_LAST] = [_row([f"… {more} more …"])]
    if header:
        lines.insert(0, _row(header, "th"))
    body = "\n".join(lines)
    heading = f"<strong>{html.escape(title)}</strong>"
    return (
        f'<div style="overflow-x: auto">{heading}\n<table style="{_STYLE}">\n{body}\n</table></div>'
    )


def _row(cells: Sequence[object], tag: str = "td") -> str:
    inside = "".join(f'<{tag} style="{_CELL}">{html.escape(str(cell))}</{tag}>' for cell in cells)
    return f"<tr>{inside}</tr>"
