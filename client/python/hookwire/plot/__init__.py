"""Pictures of what was captured: heat maps, attention patterns, the logit lens.

    from hookwire import plot

    plot.patching(values, tokens=words, clean=9.8, corrupted=-7.0, metric="logit difference")
    plot.attention(cache["pattern", 5], tokens=words, head=2, save="head.png")

Each function returns a `Figure`. A notebook shows it as an interactive figure if plotly is
installed, and otherwise as a PNG. `figure.save("picture.png")` writes it with matplotlib.
`pip install 'hookwire[plot]'` installs both. Values may be NumPy arrays, torch tensors or lists.
"""

from hookwire.errors import MissingExtraError
from hookwire.plot.figure import Figure, Panel
from hookwire.plot.maps import attention, heatmap, lens, patching
from hookwire.plot.words import top_words

__all__ = [
    "Figure",
    "MissingExtraError",
    "Panel",
    "attention",
    "heatmap",
    "lens",
    "patching",
    "top_words",
]
