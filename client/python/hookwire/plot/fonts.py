"""Fonts that have the characters of a picture's text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hookwire.plot import extras

if TYPE_CHECKING:
    from hookwire.plot.figure import Figure

# Fonts with Chinese, Japanese and Korean, and with other scripts, in the order in which they are
# tried.
_OTHERS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Source Han Sans", "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei", "IPAGothic", "Droid Sans Fallback", "Hiragino Sans", "PingFang SC",
    "Apple SD Gothic Neo", "Yu Gothic", "Microsoft YaHei", "Malgun Gothic", "Arial Unicode MS",
    "Noto Sans", "Noto Sans Arabic", "Noto Sans Devanagari", "Noto Emoji", "Segoe UI Symbol",
)  # fmt: skip


def drawable(figure: Figure) -> tuple[Figure, list[str]]:
    r"""The figure with text that matplotlib can draw, and the families of fonts to draw it with.

    A character that no installed font has is written as in a Python string: "\u65e5".
    """
    texts = [figure.title, figure.row_axis, figure.column_axis, figure.legend]
    for panel in figure.panels:
        texts += [panel.title, *panel.rows, *panel.columns]
        texts += [text for row in panel.text or () for text in row]
    manager = extras.load("matplotlib.font_manager")
    families = list(extras.load("matplotlib").rcParams["font.family"])
    missing = {one for one in set().union(*texts) if not one.isspace()}
    missing -= _characters(manager.findfont(manager.FontProperties()))
    files = {font.name: font.fname for font in manager.fontManager.ttflist} if missing else {}
    for family in _OTHERS:
        if family in files and missing & (found := _characters(files[family])):
            families.append(family)
            missing -= found
    if not missing:
        return figure, families
    escapes = str.maketrans({one: ascii(one)[1:-1] for one in missing})

    def all_escaped(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(text.translate(escapes) for text in texts)

    panels = tuple(
        replace(
            panel,
            title=panel.title.translate(escapes),
            rows=all_escaped(panel.rows),
            columns=all_escaped(panel.columns),
            text=panel.text and tuple(map(all_escaped, panel.text)),
        )
        for panel in figure.panels
    )
    title, row_axis, column_axis, legend = all_escaped(tuple(texts[:4]))
    escaped = replace(
        figure,
        panels=panels,
        title=title,
        row_axis=row_axis,
        column_axis=column_axis,
        legend=legend,
    )
    return escaped, families


def _characters(file: str | Path) -> set[str]:
    """What a font's file has."""
    font: Any = extras.load("matplotlib.font_manager").get_font(str(file))
    return {chr(code) for code in font.get_charmap()}
