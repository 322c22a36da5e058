"""What a command writes: JSON for scripts, colour on a terminal, plain columns in a pipe."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
import numpy as np
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from hookwire.plot.scale import Scale

Colour = Callable[[int, int], str]
"""The background of a cell, from its row and column."""


class Output:
    """Standard output.

    Attributes:
        json: whether it is to be one JSON document.
    """

    def __init__(self, as_json: bool) -> None:
        self.json = as_json
        self._console = Console(highlight=False, soft_wrap=True)

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at it."""
        return self._console.is_terminal and not self.json

    def document(self, value: dict[str, Any]) -> None:
        """Writes the JSON document. NaN and infinity become null."""
        click.echo(json.dumps(_plain(value), indent=2 if self._console.is_terminal else None))

    def line(self, text: str = "", style: str = "") -> None:
        """Writes a line."""
        self._console.print(Text(text, style=style))

    def facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Writes names and values, one a line."""
        known = list(facts)
        width = max(len(name) for name, _ in known)
        for name, value in known:
            self._console.print(Text.assemble((f"{name:<{width}}  ", "cyan"), value))

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
    ) -> None:
        """Writes a table.

        Args:
            columns: their titles.
            rows: their cells.
            right: the columns that are aligned at the right.
        """
        if not self.is_terminal:
            self._columns([columns, *rows], right)
            return
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for number, title in enumerate(columns):
            at_right = number in right
            table.add_column(title, justify="right" if at_right else "left", overflow="fold")
        for row in rows:
            # Text, for rich reads "[bos]" as markup.
            table.add_row(*map(Text, row))
        self._console.print(table, soft_wrap=False)

    def _columns(self, rows: Sequence[Sequence[str]], right: Sequence[int]) -> None:
        widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (
                _padded(cell, width, number in right)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            click.echo("  ".join(cells).rstrip())

    def grid(
        self,
        rows: Sequence[str],
        columns: Sequence[str],
        cells: Sequence[Sequence[str]],
        colour: Colour,
    ) -> None:
        """Writes a matrix; on a terminal with colours, and in several parts if it is too wide.

        Args:
            rows: a label for each row.
            columns: a label for each column.
            cells: [row][column].
            colour: of each cell.
        """
        beside = max(map(cell_len, rows))
        width = 1 + max(cell_len(text) for row in (columns, *cells) for text in row)
        count = len(columns)
        if self.is_terminal:
            count = max(1, (self._console.width - beside) // (width + 1))
        for first in range(0, len(columns), count):
            part = range(first, min(first + count, len(columns)))
            if first:
                self.line()
            titles = "".join(_padded(columns[at], width, True) + " " for at in part)
            self._console.print(Text(" " * beside + titles.rstrip(), style="cyan"))
            for number, name in enumerate(rows):
                line = Text(_padded(name, beside, True))
                for at in part:
                    style = f"black on {colour(number, at)}" if self.is_terminal else ""
                    line.append(_padded(cells[number][at], width, True) + " ", style)
                if not self.is_terminal:
                    line.rstrip()
                self._console.print(line)

    def tree(self, tree: Tree) -> None:
        """Writes a tree."""
        self._console.print(tree)


def progress(steps: Sequence[Any], what: str) -> Iterable[Any]:
    """The steps, with a bar on standard error while they are taken, where that is a terminal."""
    console = Console(stderr=True)
    return track(
        steps,
        description=what,
        console=console,
        transient=True,
        disable=not console.is_terminal or len(steps) < 2,
    )


def diverging(values: Any, scale: Scale) -> Colour:
    """Blue below the scale's white and red above it, the stronger the farther; else grey."""
    matrix = np.asarray(values, dtype=np.float64)
    assert scale.white is not None
    white = scale.white

    def colour(row: int, column: int) -> str:
        value = float(matrix[row, column])
        if not math.isfinite(value):
            return "rgb(200,200,200)"
        faded = _faded(abs(value - white) / scale.reach)
        return f"rgb(255,{faded},{faded})" if value > white else f"rgb({faded},{faded},255)"

    return colour


def shades(values: Any) -> Colour:
    """From white at 0 to blue at 1."""
    matrix = np.asarray(values, dtype=np.float64)

    def colour(row: int, column: int) -> str:
        faded = _faded(float(matrix[row, column]))
        return f"rgb({faded},{faded},255)"

    return colour


def _faded(share: float) -> int:
    """The two weaker channels of a colour; those of 0 where the share is not finite."""
    return round(255 * (1 - 0.75 * min(max(share, 0.0), 1.0))) if math.isfinite(share) else 255


def _padded(text: str, width: int, right: bool) -> str:
    space = " " * max(0, width - cell_len(text))
    return space + text if right else text + space


def word(text: str) -> str:
    """A token's text on one line; spaces at its ends, and what cannot be printed, made visible."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return shown.replace(" ", "␣") if shown != shown.strip() or not shown else shown


def signed(value: float) -> str:
    """Two decimals and a sign; what rounds to 0 is +0.00."""
    return f"{round(float(value), 2) + 0.0:+.2f}"


def _plain(value: Any) -> Any:
    """What JSON can hold."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(_plain, value))
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
