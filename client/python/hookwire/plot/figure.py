"""What a picture shows, apart from the library that draws it."""

from __future__ import annotations

import io
import numbers
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hookwire import errors
from hookwire.errors import arguments
from hookwire.facts.dtypes import Array
from hookwire.plot import extras
from hookwire.plot.scale import Scale

# Inches.
WIDTH, NARROWEST = 9.0, 4.0


@dataclass(frozen=True)
class Panel:
    """One matrix of a figure.

    Attributes:
        values: [row, column], float64.
        rows: a label for each row, from the top.
        columns: a label for each column, from the left.
        text: the text of each cell, [row, column]; None for no text.
        title: the text above the panel.
        is_words: whether the cells' text is words. Words that do not fit are shortened; numbers
            that do not fit are left out.
    """

    values: Array
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    text: tuple[tuple[str, ...], ...] | None = None
    title: str = ""
    is_words: bool = False


@arguments.checked_methods("figure")
@dataclass(frozen=True)
class Figure:
    """One or more matrices with a common colour scale.

    Attributes:
        panels: the matrices.
        title: the text above the panels.
        row_axis: the label of the vertical axis, such as "layer".
        column_axis: the label of the horizontal axis.
        legend: the label of the colour bar.
        scale: which value has which colour.
    """

    panels: tuple[Panel, ...]
    title: str
    row_axis: str
    column_axis: str
    legend: str
    scale: Scale

    @property
    def low(self) -> float:
        """The value at the lower end of the colours."""
        return self.scale.low

    @property
    def high(self) -> float:
        """The value at the upper end of the colours."""
        return self.scale.high

    @property
    def diverging(self) -> bool:
        """Whether colours go from blue through white to red; if not, from white to blue."""
        return self.scale.white is not None

    def save(self, path: str | Path, *, dpi: int = 150, width: float = WIDTH) -> None:
        """Writes the picture to a file, and makes the folders that the path needs.

        Args:
            path: ends with ".png", ".svg" or ".pdf", which matplotlib draws; or with ".html", a
                page with the interactive figure, which needs no network.
            dpi: pixels per inch of a PNG.
            width: the largest width of the picture, in inches. With the default, 9, the text can be
                read on a page that shows the picture 800 pixels wide. A wider picture has room for
                more text in its cells.

        Raises:
            MissingExtraError: the library that draws it is not installed.
            ArgumentError: another suffix, or a width below 4.
            ArgumentTypeError: `path` is not a path.
        """
        if not isinstance(path, (str, os.PathLike)):
            raise errors.ArgumentTypeError(f"path must be a path, not {path!r:.60}")
        path = Path(path)
        kind = path.suffix.lower()
        if kind not in (".png", ".svg", ".pdf", ".html"):
            raise errors.ArgumentError(
                f"a picture is saved as .png, .svg, .pdf or .html, not {kind or path.name!r}"
            )
        drawn = self.plotly() if kind == ".html" else self.matplotlib(width=width)
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == ".html":
            drawn.write_html(path, include_plotlyjs=True)
        else:
            drawn.savefig(path, format=kind[1:], dpi=dpi)

    def png(self, *, dpi: int = 100, width: float = WIDTH) -> bytes:
        """Returns the picture as the bytes of a PNG.

        Args:
            dpi: pixels per inch.
            width: the largest width in inches, as in `save`.

        Raises:
            MissingExtraError: matplotlib is not installed.
            ArgumentError: a width below 4.
        """
        content = io.BytesIO()
        self.matplotlib(width=width).savefig(content, format="png", dpi=dpi)
        return content.getvalue()

    def matplotlib(self, *, width: float = WIDTH) -> Any:
        """Returns the picture as a `matplotlib.figure.Figure` that `pyplot` does not manage.

        Args:
            width: the largest width in inches, as in `save`.

        Raises:
            MissingExtraError: matplotlib is not installed.
            ArgumentError: a width below 4.
        """
        from hookwire.plot import static

        given: Any = width
        if not isinstance(given, numbers.Real) or not float(given) >= NARROWEST:
            raise errors.ArgumentError(
                f"width must be {NARROWEST:g} inches or more, not {given!r:.60}"
            )
        return static.draw(self, float(width))

    def plotly(self) -> Any:
        """Returns the picture as a `plotly.graph_objects.Figure`.

        Raises:
            MissingExtraError: plotly is not installed.
        """
        from hookwire.plot import interactive

        return interactive.draw(self, WIDTH)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """What a notebook shows: the interactive figure if it can be made, or else the PNG.

        The PNG goes along with the interactive figure, for pages that hold a notebook's output.
        """
        del include, exclude
        bundle: dict[str, Any] = {"text/plain": repr(self)}
        if extras.has("matplotlib"):
            bundle["image/png"] = self.png()
        if extras.has("plotly"):
            bundle.update(self.plotly()._repr_mimebundle_())
        return bundle

    def __repr__(self) -> str:
        sizes = ", ".join("×".join(map(str, panel.values.shape)) for panel in self.panels[:1])
        count = f"{len(self.panels)} panels of " if len(self.panels) > 1 else ""
        return f"<Figure {self.title!r}: {count}{sizes}>"
