"""Which value has which colour."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np

from hookwire import errors
from hookwire.facts.dtypes import Array
from hookwire.plot.labels import Format

Colour = tuple[float, float, float]
"""Red, green and blue, 0 to 1."""
NOT_FINITE: Colour = (0.78, 0.78, 0.78)
"""Of cells whose value is NaN or infinite: a grey that is on no scale."""
# ColorBrewer's "Blues" and both halves of its "RdBu", from white on.
_SEQUENTIAL = "ffffff deebf7 c6dbef 9ecae1 6baed6 4292c6 2171b5 08519c 08306b"
_BELOW = "ffffff d1e5f0 92c5de 4393c3 2166ac 053061"
_ABOVE = "ffffff fddbc7 f4a582 d6604d b2182b 67001f"
# A smaller spread than this share of the largest value is the rounding of it.
_ROUNDING = 0.01
# How far beyond the clean run's value, as a share of the effect, values may go on its scale.
_BEYOND = 0.1


@dataclass(frozen=True)
class Scale:
    """The colours of values.

    Attributes:
        low: the value at the lower end.
        high: the value at the upper end.
        white: the value that is white: values below it are blue, values above it red, and equal
            distances from it are equally strong. None: colours go from white at `low` to blue.
        marks: values to mark on the colour bar, with what is written there. Empty: round numbers.
    """

    low: float
    high: float
    white: float | None = None
    marks: tuple[tuple[float, str], ...] = ()

    @property
    def reach(self) -> float:
        """How far from white the strongest colour is."""
        if self.white is None:
            return self.high - self.low
        return max(self.high - self.white, self.white - self.low)

    @property
    def largest(self) -> float:
        """The largest magnitude at an end: how large the numbers of a picture are."""
        return max(abs(self.low), abs(self.high))

    def colour(self, value: float) -> Colour:
        """The colour of a value; beyond the ends it is that of the end."""
        if not math.isfinite(value):
            return NOT_FINITE
        distance = min(max(value, self.low), self.high)
        distance -= self.low if self.white is None else self.white
        colours = _SEQUENTIAL if self.white is None else _BELOW if distance < 0 else _ABOVE
        return _blend(colours, abs(distance) / self.reach)

    def stops(self) -> list[tuple[float, Colour]]:
        """Places from 0 (the low end) to 1 (the high end) and their colours, for a library."""
        places = set(np.linspace(0, 1, 65).tolist())
        if self.white is not None:
            places.add((self.white - self.low) / (self.high - self.low))
        return [(at, self.colour(self.low + at * (self.high - self.low))) for at in sorted(places)]

    def is_exceeded(self, values: Array) -> tuple[bool, bool]:
        """Whether values lie visibly below the lower end, and above the upper end."""
        finite = values[np.isfinite(values)]
        slack = _ROUNDING * self.reach
        return bool((finite < self.low - slack).any()), bool((finite > self.high + slack).any())


def _blend(colours: str, share: float) -> Colour:
    """The colour at a share of the way through the colours."""
    known = np.array([list(bytes.fromhex(one)) for one in colours.split()]) / 255  # [colour, 3]
    at = np.linspace(0, 1, len(known))
    red, green, blue = (float(np.interp(share, at, known[:, channel])) for channel in range(3))
    return red, green, blue


def ink(behind: Colour) -> str:
    """Black or white, whichever stands out more on a colour (WCAG 2's contrast)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in behind]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def spread(values: Array, low: Any = None, high: Any = None, white: Any = None) -> Scale:
    """A scale that holds all values.

    Args:
        values: of any shape.
        low: the lower end; default: the lowest value.
        high: the upper end; default: the highest value.
        white: the value that is white; default: 0 where it is between the ends, or else none.
            Where it is, an end that is not given is as far from white as the other one.

    Raises:
        ArgumentError: ends that are not numbers, or in the wrong order.
    """
    low, high, white = _number("low", low), _number("high", high), _number("white", white)
    finite = values[np.isfinite(values)]
    least = float(finite.min()) if finite.size else 0.0
    most = float(finite.max()) if finite.size else 1.0
    first = least if low is None else low
    last = most if high is None else high
    if white is None and first < 0 < last:
        white = 0.0
    if white is not None:
        reach = max(abs(first - white), abs(last - white))
        reach = reach or 1.0
        first = white - reach if low is None else first
        last = white + reach if high is None else last
    elif last - first < (floor := _ROUNDING * max(abs(least), abs(most)) or 1.0):
        # Equal values, but for their rounding: they are pale.
        last = first + floor if high is None else last
        first = last - floor if low is None else first
    if not (first < last and (white is None or first <= white <= last)):
        raise errors.ArgumentError(
            f"the ends of the colours are in the wrong order: low={first:g}, "
            + (f"white={white:g}, " if white is not None else "")
            + f"high={last:g}"
        )
    return Scale(first, last, white)


def patching(values: Array, clean: Any, corrupted: Any) -> Scale:
    """The scale of activation patching: the same for all maps of one metric.

    White is the corrupted run's value, so a patch without effect is white. The ends are as far
    from it as the clean run's value, whatever the values are; where a patch goes more than a tenth
    farther than that, the ends are as far as the farthest patch.

    Args:
        values: the metric after each patch.
        clean: the metric of the clean run; None: unknown.
        corrupted: the metric of the corrupted run; None: 0.

    Raises:
        ArgumentError: they are not numbers, or the clean run's is given alone.
    """
    clean, corrupted = _number("clean", clean), _number("corrupted", corrupted)
    if clean is None:
        return spread(values, white=corrupted or 0.0)
    if corrupted is None:
        raise errors.ArgumentError(
            "clean needs corrupted too: white is the value of the corrupted run"
        )
    effect = abs(clean - corrupted)
    finite = values[np.isfinite(values)]
    farthest = float(np.abs(finite - corrupted).max()) if finite.size else 0.0
    fits = effect > 0 and farthest <= (1 + _BEYOND) * effect
    reach = (effect if fits else farthest) or 1.0
    low, high = corrupted - reach, corrupted + reach
    shown = Format(reach, signed=True)
    ends = {
        low: f"{shown(low)}\nas far the\nother way",
        high: f"{shown(high)}\nas far the\nother way",
    }
    toward = high if clean > corrupted else low
    if fits:
        ends[toward] = f"{shown(clean)}\nclean run"
    else:
        is_above = finite.size and finite.max() - corrupted >= farthest
        ends[high if is_above else low] = f"{shown(high if is_above else low)}\nfarthest patch"
        if effect:
            ends[toward] += f"\n(clean: {shown(clean)})"
    white = (corrupted, f"{shown(corrupted)}\ncorrupted run\n(no effect)")
    return Scale(low, high, corrupted, ((low, ends[low]), white, (high, ends[high])))


def _number(what: str, given: Any) -> float | None:
    """The number that a user gives, which may be a tensor without axes; None: none."""
    if given is None:
        return None
    if isinstance(given, numbers.Real) or getattr(given, "ndim", None) == 0:
        value = float(given)
        if math.isfinite(value):
            return value
    raise errors.ArgumentTypeError(f"{what} must be a number or None, not {given!r:.60}")
