"""What the settings of a tokenizer can be."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from typing import Any

from hookwire import errors
from hookwire.facts import selection
from hookwire.text.encoding import LARGE


def check(name: str, value: Any) -> None:
    """Refuses a value that a setting cannot have; an attribute that is no setting may have any.

    Args:
        name: of the attribute.
        value: that it is to have.

    Raises:
        ArgumentTypeError: it is of another kind.
        ArgumentError: it is none of a setting's words, or a negative length.
    """
    checked = _CHECKS.get(name)
    if checked is not None:
        checked(name, value)


def _side(name: str, value: Any) -> None:
    selection.one_of(value, ("left", "right"), name)


def _flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise errors.ArgumentTypeError(f"{name} must be True or False, not {errors.shown(value)}")


def _length(name: str, value: Any) -> None:
    # In Transformers a length may be a float where it stands for no limit: 1e30.
    is_no_limit = isinstance(value, float) and value >= LARGE
    if isinstance(value, bool) or not (isinstance(value, numbers.Integral) or is_no_limit):
        raise errors.ArgumentTypeError(
            f"{name} must be a number of tokens, not {errors.shown(value)}"
        )
    if value < 0:
        raise errors.ArgumentError(f"{name} must not be negative, not {value!r}")


def _length_or_none(name: str, value: Any) -> None:
    if value is not None:
        _length(name, value)


def _template(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, (str, Mapping)):
        raise errors.ArgumentTypeError(
            f"{name} must be a Jinja template, templates by name, or None, not "
            f"{errors.shown(value)}"
        )


_CHECKS: dict[str, Callable[[str, Any], None]] = {
    "padding_side": _side,
    "truncation_side": _side,
    "default_prepend_bos": _flag,
    "clean_up_tokenization_spaces": _flag,
    "model_max_length": _length,
    "n_ctx": _length_or_none,
    "chat_template": _template,
}
