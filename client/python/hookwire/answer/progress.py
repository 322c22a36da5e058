"""A progress bar for large results."""

from __future__ import annotations

import sys
from typing import Any

from hookwire.answer.plan import WARN_BYTES


class Progress:
    """Shows how many bytes of a result have come.

    Nothing is shown for results that come in a moment, nor where nobody would see it.
    """

    def __init__(self, wanted: bool | None) -> None:
        """Prepares.

        Args:
            wanted: True or False, or None for large results on a terminal or in a notebook only.
        """
        self._wanted = wanted
        self._bar: Any = None
        self._shown = 0

    def begin(self, total_bytes: int) -> None:
        """Starts the bar, once the plan has come."""
        if self._wanted is not None or total_bytes > WARN_BYTES:
            self._bar = bar(
                self._wanted, total=total_bytes, unit="B", unit_scale=True, unit_divisor=1024
            )

    def update(self, received: int) -> None:
        """Shows what has come so far."""
        if self._bar is not None:
            self._bar.update(received - self._shown)
            self._shown = received

    def close(self) -> None:
        """Leaves the bar as it is."""
        if self._bar is not None:
            self._bar.close()


def bar(wanted: bool | None, **settings: Any) -> Any:
    """A bar of tqdm; None where there is to be none.

    Args:
        wanted: True or False, or None on a terminal or in a notebook only.
        settings: of tqdm.
    """
    if wanted is False or (wanted is None and not (sys.stderr.isatty() or _in_notebook())):
        return None
    from tqdm.auto import tqdm

    # Who asks for it gets it, also where the environment says TQDM_DISABLE.
    asked: dict[str, Any] = {"disable": False} if wanted else {}
    return tqdm(desc="hookwire", **settings, **asked)


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules
