"""How messages show values."""

from __future__ import annotations

import reprlib

# The name of a hook point is shown whole.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def shown(value: object) -> str:
    """A value as messages show it: short, and of an array or a tensor what it holds."""
    dtype = getattr(value, "dtype", None)
    return _SHORT.repr(value) if dtype is None else f"{type(value).__name__} of {dtype}"


def is_set(value: object) -> bool:
    """Whether an argument that is not supported was given a value other than None, False or []."""
    return (
        value is not None
        and value is not False
        and not (isinstance(value, (tuple, list)) and not value)
    )
