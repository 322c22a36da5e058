"""A matrix over layers and words, as a table in the terminal."""

from __future__ import annotations

import sys

import numpy as np


def bold(text: str) -> str:
    """The text in bold, where the output is a terminal."""
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text


def shaded(text: str, share: float) -> str:
    """The text on blue (−1) over white (0) to red (1), where the output is a terminal."""
    if not sys.stdout.isatty():
        return text
    faded = round(255 * (1 - 0.75 * min(abs(share), 1)))
    red, blue = (255, faded) if share > 0 else (faded, 255)
    return f"\033[30;48;2;{red};{faded};{blue}m{text}\033[0m"


def print_table(matrix: np.ndarray, words: list[str], clean: float, corrupted: float) -> None:
    """Prints a line for each layer of a `[layer, pos]` matrix, with a column for each word.

    Colours are those of `plot.patching`: white is the corrupted run, the strongest the clean one.
    """
    widths = [max(len(word), 5) for word in words]
    reach = abs(clean - corrupted)
    print("  layer " + " ".join(f"{w:>{n}}" for w, n in zip(words, widths, strict=True)))
    for layer, row in enumerate(matrix):
        cells = (
            shaded(f"{v:+{n}.1f}", (v - corrupted) / reach)
            for v, n in zip(row, widths, strict=True)
        )
        print(f"  {layer:5} " + " ".join(cells))
