"""Names filters: which hook points to read, and under which names they are returned.

- None is every name and alias.
- A string is a name, an alias or a glob; a list holds any of them. The server resolves these.
- A function is applied here to the list of names and aliases; what it matches, and nothing else, is
  returned.

With `stop_at_layer`, hook points behind the end are left out of None, globs and functions, as in
TransformerLens; one that is asked for by its name is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hookwire import errors
from hookwire.catalogue import Catalogue

NamesFilter = str | Sequence[str] | Callable[[str], bool] | None
EVERYTHING = "**"


@dataclass(frozen=True)
class Wanted:
    """What to ask the server for.

    Attributes:
        hooks: names, aliases and globs for `Capture.hook`.
        names: for hook points of which only some names are to be returned: these, by canonical
            name.
    """

    hooks: tuple[str, ...]
    names: dict[str, list[str]]


def resolve(
    names_filter: NamesFilter, catalogue: Callable[[], Catalogue], stop_at_layer: int | None
) -> Wanted:
    """Turns a filter into what the server takes.

    Args:
        names_filter: see the module's docstring.
        catalogue: gives the catalogue, where it is needed.
        stop_at_layer: counted from 0, or None.

    Raises:
        GlobNoMatchError: a function that matches nothing.
        NeverFiresError: all that a function matches lies behind the end.
        TypeError: another kind of filter.
    """
    if names_filter is None:
        names_filter = EVERYTHING
    if isinstance(names_filter, str):
        return Wanted((names_filter,), {})
    if callable(names_filter):
        return _apply(names_filter, catalogue(), stop_at_layer)
    hooks = tuple(dict.fromkeys(names_filter))
    if not all(isinstance(hook, str) for hook in hooks):
        raise TypeError(
            "names_filter must be None, a string, a list of strings, or a function of a name"
        )
    return Wanted(hooks, {})


def _apply(
    matches: Callable[[str], bool], catalogue: Catalogue, stop_at_layer: int | None
) -> Wanted:
    """Asks by canonical name for what a function matches, and returns it as it was matched."""
    matched = [name for name in catalogue if matches(name)]
    if not matched:
        raise errors.GlobNoMatchError("names_filter matches none of the model's hook points")
    points = catalogue.by_name()
    names: dict[str, list[str]] = {}
    for name in matched:
        canonical = points[name].name
        if stop_at_layer is None or canonical in catalogue.before(stop_at_layer):
            names.setdefault(canonical, []).append(name)
    if not names:
        raise errors.NeverFiresError(
            f"names_filter matches only hook points that lie behind stop_at_layer={stop_at_layer}, "
            f"such as {matched[0]}",
            metadata={"hook": matched[0], "stop_at_layer": str(stop_at_layer)},
        )
    return Wanted(tuple(names), names)
