"""Names filters: which hook points to read, and under which names they are returned.

- None is every name and alias.
- A string is a name, an alias or a glob; a list holds any of them. The server resolves these.
- A function is applied here to the list of names and aliases; what it matches, and nothing else, is
  returned.

With `stop_at_layer` or `start_at_layer`, hook points that the run does not come to are left out of
None, globs and functions, as in TransformerLens; one that is asked for by its name is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hookwire import dtypes, errors
from hookwire.catalogue import is_glob
from hookwire.reach import Reach

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


def resolve(names_filter: NamesFilter, reach: Reach) -> Wanted:
    """Turns a filter into what the server takes.

    Args:
        names_filter: see the module's docstring.
        reach: of the run.

    Raises:
        GlobNoMatchError: a function that matches nothing.
        NeverFiresError: the run does not come to anything that a function matches, or to a name.
        TypeError: another kind of filter.
    """
    if names_filter is None:
        names_filter = EVERYTHING
    if callable(names_filter):
        catalogue = reach.catalogue()
        matched = [name for name in catalogue if names_filter(name)]
        if not matched:
            raise errors.GlobNoMatchError("names_filter matches none of the model's hook points")
        names = reach.kept(matched, "names_filter", captured=True)
        return Wanted(tuple(names), names)
    hooks = _names(names_filter)
    # The server knows where a run ends, but not that it starts anywhere but at the tokens.
    return Wanted(hooks, {}) if reach.start is None else _since_start(hooks, reach)


def _names(names_filter: Any) -> tuple[str, ...]:
    """The filter's strings, each once."""
    names = [names_filter] if isinstance(names_filter, str) else names_filter
    if isinstance(names, Iterable):
        names = list(names)
        if all(isinstance(name, str) for name in names):
            return tuple(dict.fromkeys(names))
    raise TypeError(
        "names_filter must be None, a string, a list of strings, or a function of a name, not "
        f"{dtypes.shown(names_filter)}"
    )


def _since_start(hooks: Sequence[str], reach: Reach) -> Wanted:
    """Names and globs as the server would resolve them, without what lies before the start."""
    catalogue = reach.catalogue()
    asked: dict[str, None] = {}
    names: dict[str, list[str]] = {}
    for hook in hooks:
        point = catalogue.get(hook)
        matched = catalogue.match(hook) if is_glob(hook) else []
        if point is not None:
            reach.check(hook, captured=True)
            found = {point.name: [hook, point.name]}
        elif matched:
            found = reach.kept(matched, repr(hook), captured=True)
        else:
            asked[hook] = None  # the server knows why there is no such hook point
            continue
        for canonical, matches in found.items():
            asked[canonical] = None
            names[canonical] = list(dict.fromkeys([*names.get(canonical, []), *matches]))
    return Wanted(tuple(asked), names)
