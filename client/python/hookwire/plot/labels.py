"""Texts of a picture: numbers, labels, titles."""

from __future__ import annotations

import math
import textwrap

# Characters; a longer label would take the room of the cells.
_LONGEST_LABEL = 16
_MINUS = "−"
# Decimals of numbers, and the least that the largest of them may be.
_DECIMALS = ((0, 200.0), (1, 2.0), (2, 0.2), (3, 0.02))


def label(token: str) -> str:
    """A token's text on one line."""
    return token.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def shortened(text: str, characters: int = _LONGEST_LABEL) -> str:
    """The text, with "…" for what is beyond a number of characters."""
    return text if len(text) <= characters else text[: characters - 1].rstrip() + "…"


def wrapped(text: str, characters: int, lines: int) -> list[str]:
    """The text in lines of so many characters; what does not fit into the last one is left out."""
    found: list[str] = []
    for part in text.splitlines():
        found += textwrap.wrap(part, max(characters, 8)) or [""]
    if len(found) > lines:
        found = [*found[: lines - 1], shortened(found[lines - 1] + " " + found[lines], characters)]
    return found


class Format:
    """Writes numbers of one picture, all with as many decimals.

    The minus sign is U+2212, as on the axes. What rounds to 0 has no minus sign.
    """

    def __init__(self, largest: float, *, signed: bool = False, more: int = 0) -> None:
        """Chooses the decimals.

        Args:
            largest: how large numbers are; from 0.02 to 10,000 they are written without exponent.
            signed: numbers above 0 have a "+".
            more: decimals beyond those that tell values of this size apart.
        """
        self._sign = "+" if signed else ""
        self._more = more
        self._decimals: int | None = None
        if 0.02 <= largest < 1e4 or largest == 0:
            self._decimals = more + next((n for n, least in _DECIMALS if largest >= least), 2)

    def __call__(self, value: float) -> str:
        """The number in a few characters."""
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return f"{_MINUS if value < 0 else self._sign}∞"
        if self._decimals is not None:
            text = f"{round(value, self._decimals) + 0.0:{self._sign}.{self._decimals}f}"
        elif value == 0:
            text = f"{self._sign}0"
        else:
            digits, _, power = f"{value:{self._sign}.{1 + self._more}e}".partition("e")
            text = f"{digits}e{int(power)}"
        return text.replace("-", _MINUS)
