"""How values are shown: sizes, and small tables for notebooks."""

from __future__ import annotations

import html
from collections.abc import Sequence

# A longer table shows its beginning and its end.
_FIRST, _LAST = 40, 10


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

    It sets no colours, so that a dark page and a light one both show it in their own.

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
    return f"<div><strong>{html.escape(title)}</strong>\n<table>\n{body}\n</table></div>"


def _row(cells: Sequence[object], tag: str = "td") -> str:
    inside = "".join(
        f'<{tag} style="text-align: left">{html.escape(str(cell))}</{tag}>' for cell in cells
    )
    return f"<tr>{inside}</tr>"
