"""A matrix over layers and words, as a table in the terminal and as a PNG."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt


def bold(text: str) -> str:
    """The text in bold, where the output is a terminal."""
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text


def shaded(text: str, value: float, scale: float) -> str:
    """The text on blue (−scale) over white (0) to red (+scale), where the output is a terminal."""
    if not sys.stdout.isatty():
        return text
    faded = round(255 * (1 - 0.75 * min(abs(value) / scale, 1)))
    red, blue = (255, faded) if value > 0 else (faded, 255)
    return f"\033[30;48;2;{red};{faded};{blue}m{text}\033[0m"


def print_table(matrix: np.ndarray, words: list[str]) -> None:
    """Prints a line for each layer of a `[layer, pos]` matrix, with a column for each word."""
    widths = [max(len(word), 5) for word in words]
    scale = float(np.abs(matrix).max())
    print("  layer " + " ".join(f"{w:>{n}}" for w, n in zip(words, widths, strict=True)))
    for layer, row in enumerate(matrix):
        cells = (shaded(f"{v:+{n}.1f}", v, scale) for v, n in zip(row, widths, strict=True))
        print(f"  {layer:5} " + " ".join(cells))


def draw(matrix: np.ndarray, words: list[str], title: str, legend: str, path: Path) -> None:
    """Draws the same as a PNG."""
    figure, axes = plt.subplots(figsize=(10, 4.2), layout="constrained")
    scale = float(np.abs(matrix).max())
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-scale, vmax=scale, aspect="auto")
    for (layer, pos), value in np.ndenumerate(matrix):
        ink = "white" if abs(value) > 0.6 * scale else "black"
        axes.text(pos, layer, f"{value:+.1f}", ha="center", va="center", fontsize=8, color=ink)
    axes.set_xticks(range(len(words)), words, rotation=45, ha="right")
    axes.set_yticks(range(len(matrix)))
    axes.set_ylabel("layer")
    axes.set_title(title, fontsize=11)
    figure.colorbar(image, label=legend)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
