"""The libraries that draw: optional, and asked for by the extra's name where they are missing."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from hookwire.errors import MissingExtraError

EXTRA = "hookwire[plot]"


def has(library: str) -> bool:
    """Whether the library is installed, without importing it."""
    return importlib.util.find_spec(library) is not None


def load(module: str) -> Any:
    """The module "plotly.…" or "matplotlib.…".

    Raises:
        MissingExtraError: its library is not installed.
    """
    library = module.partition(".")[0]
    if not has(library):
        raise MissingExtraError(
            f"this needs {library}, which is not installed: pip install {EXTRA}"
        )
    return importlib.import_module(module)


def require_any() -> None:
    """Checks that something can draw.

    Raises:
        MissingExtraError: neither plotly nor matplotlib is installed.
    """
    if not has("plotly") and not has("matplotlib"):
        raise MissingExtraError(
            f"plots need plotly or matplotlib, and neither is installed: pip install {EXTRA}"
        )
