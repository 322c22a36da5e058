"""Names filters: which hook points to read, and under which names they are returned.

- None is every name and alias.
- A string is a name, an alias or a glob; a list holds any of them. The server resolves these.
- A function is applied here to the list of names and aliases; what it matches, and nothing else, is
  returned.

With `stop_at_layer`, hook points behind the end are left out of None, globs and functions, as in
TransformerLens; one that is asked for by its name is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hookwire import errors
from hookwire.catalogue import Catalogue, is_glob

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
        NeverFiresError: what a function or a glob matches lies behind the end.
        TypeError: another kind of filter.
    """
    if names_filter is None:
        names_filter = EVERYTHING
    if isinstance(names_filter, str):
        names_filter = (names_filter,)
    elif callable(names_filter):
        every = catalogue()
        matched = [name for name in every if names_filter(name)]
        if not matched:
            raise errors.GlobNoMatchError("names_filter matches none of the model's hook points")
        return _by_name([], _reached(matched, every, stop_at_layer), every)
    hooks = list(dict.fromkeys(names_filter))
    if not all(isinstance(hook, str) for hook in hooks):
        raise TypeError(
            "names_filter must be None, a string, a list of strings, or a function of a name"
        )
    if stop_at_layer is None or not any(map(is_glob, hooks)):
        return Wanted(tuple(hooks), {})
    return _until(hooks, catalogue(), stop_at_layer)


def _until(hooks: Iterable[str], catalogue: Catalogue, stop_at_layer: int) -> Wanted:
    """Expands globs up to the end of the pass; one that matches nothing is left to the server."""
    plain: list[str] = []
    matched: list[str] = []
    for hook in hooks:
        names = catalogue.match(hook) if is_glob(hook) else []
        if names:
            matched += _reached(names, catalogue, stop_at_layer)
        else:
            plain.append(hook)
    return _by_name(plain, matched, catalogue)


def _reached(names: list[str], catalogue: Catalogue, stop_at_layer: int | None) -> list[str]:
    if stop_at_layer is None:
        return names
    points = catalogue.by_name()
    before = catalogue.before(stop_at_layer)
    reached = [name for name in names if points[name].name in before]
    if not reached:
        raise errors.NeverFiresError(
            f"names_filter matches only hook points that lie behind stop_at_layer={stop_at_layer}, "
            f"such as {names[0]}",
            metadata={"hook": names[0], "stop_at_layer": str(stop_at_layer)},
        )
    return reached


def _by_name(plain: list[str], matched: list[str], catalogue: Catalogue) -> Wanted:
    """Asks for matched hook points by canonical name, and returns them as they were matched."""
    points = catalogue.by_name()
    names: dict[str, list[str]] = {}
    for name in dict.fromkeys(matched):
        names.setdefault(points[name].name, []).append(name)
    for hook in plain:
        # Named outright as well: then it has both names, as the server says.
        point = points.get(hook)
        if point is not None and point.name in names:
            names[point.name] = list(dict.fromkeys([point.name, hook, *names[point.name]]))
    hooks = (*plain, *(name for name in names if name not in plain))
    return Wanted(hooks, names)
