"""Characters that the usual font does not have are drawn with another, or can still be read."""

from __future__ import annotations

import warnings
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from hookwire import plot
from hookwire.plot import fonts

# No font has U+0378, which is not assigned.
WORD = "日\u0378"


def labels(figure: plot.Figure) -> list[str]:
    axes: Any = figure.matplotlib().axes[0]
    return [label.get_text() for label in axes.get_xticklabels()]


def test_a_character_that_no_font_has_is_written_as_in_python() -> None:
    figure = plot.heatmap(np.ones((1, 2)), tokens=[WORD, "b"], title=WORD)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert figure.png()[:4] == b"\x89PNG"
    first, second = labels(figure)
    assert first.endswith("\\u0378")
    assert second == "b"
    assert figure.panels[0].columns[0] == WORD


def test_words_in_cells_are_written_so_too() -> None:
    figure = plot.lens([["\u0378", "b"]], [[0.5, 0.5]], tokens=["a", "b"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        texts = [text.get_text() for text in figure.matplotlib().axes[0].texts]
    assert texts == ["\\u0378", "b"]


def test_another_font_that_is_installed_has_the_character(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_OTHERS", ("No Such Font", "DejaVu Serif"))
    figure = plot.heatmap(np.ones((1, 2)), tokens=["Ж", "b"])
    with mpl.rc_context({"font.family": ["cmr10"]}):  # Latin only
        drawn, families = fonts.drawable(figure)
    assert families == ["cmr10", "DejaVu Serif"]
    assert drawn.panels[0].columns[0] == "Ж"
