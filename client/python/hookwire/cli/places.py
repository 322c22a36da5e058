"""Layers, positions and heads as users write them: "3", "0,5,9", "2:8", "::4", "-1"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from hookwire.cli import failure

F = TypeVar("F", bound=Callable[..., Any])
Parts = tuple[int | slice, ...]
"""Indices and ranges, as in Python."""


def option(name: str, what: str) -> Callable[[F], F]:
    """Adds an option whose value is `Parts`, or None where it is not given.

    Args:
        name: the option's.
        what: what it chooses, for the help.
    """
    return click.option(
        name,
        metavar="INDICES",
        callback=_parse,
        help=f"{what}: 3, -1, 0,5,9, 2:8 or ::4. Default: all.",
    )


def _parse(context: click.Context, option: click.Parameter, value: str | None) -> Parts | None:
    """The parts of what a user wrote."""
    if value is None:
        return None
    try:
        return tuple(_part(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not an index, a list or a range, such as 3, -1, 0,5,9 or 2:8",
            ctx=context,
            param=option,
        ) from None


def _part(text: str) -> int | slice:
    if ":" not in text:
        return int(text)
    bounds = [int(bound) if bound.strip() else None for bound in text.split(":")]
    if len(bounds) > 3 or bounds[2:] == [0]:
        raise ValueError(text)
    return slice(*bounds)


def resolve(parts: Parts | None, size: int, what: str) -> list[int]:
    """Indices that count from 0, in the order in which they were written; None is all.

    Args:
        parts: what a user wrote.
        size: how many there are.
        what: what they are, such as "layer".

    Raises:
        Failure: an index that does not exist, or none at all.
    """
    if parts is None:
        return list(range(size))
    found: list[int] = []
    for part in parts:
        if isinstance(part, slice):
            found += range(size)[part]
        elif -size <= part < size:
            found.append(part % size)
        else:
            failure.refuse(f"{what} {part} is outside the {size} {what}s")
    if not found:
        failure.refuse(f"that selects no {what} of {size}")
    return list(dict.fromkeys(found))
