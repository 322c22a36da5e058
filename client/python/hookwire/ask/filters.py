"""Names filters: which hook points to read, and under which names they are returned.

- None is every name and alias.
- A string is a name, an alias or a glob; a list holds any of them. The server resolves these.
- A short name is what it is to a cache: "embed" is `hook_embed`, ("pattern", 5) is
  `blocks.5.attn.hook_pattern`, and ("scale", 5, "ln1") is `blocks.5.ln1.hook_scale`. Without a
  layer, as in "pattern", it is that of every layer that has it.
- A function is applied here to the list of names and aliases; what it matches, and nothing else, is
  returned.

With `stop_at_layer` or `start_at_layer`, hook points that the run does not come to are left out of
None, globs and functions, as in TransformerLens; one that is asked for by its name is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hookwire import errors
from hookwire.ask.reach import Reach
from hookwire.errors import arguments
from hookwire.errors.nearest import nearest
from hookwire.facts import dtypes
from hookwire.facts.catalogue import (
    Catalogue,
    full_name,
    glob_pattern,
    is_glob,
    is_place,
    missing_hook,
)
from hookwire.facts.names import get_act_name

NamesFilter = str | Sequence[Any] | Callable[[str], bool] | None
EVERYTHING = "**"


@dataclass(frozen=True)
class Wanted:
    """What to ask the server for.

    Attributes:
        hooks: names, aliases and globs for `Capture.hook`.
        names: for hook points of which only some names are to be returned: these, by canonical
            name.
        integers: of the hooks, those that hold integers, where the filter was resolved here.
    """

    hooks: tuple[str, ...]
    names: dict[str, list[str]]
    integers: frozenset[str] = frozenset()


def resolve(names_filter: NamesFilter, reach: Reach, has_dtype: bool = False) -> Wanted:
    """Turns a filter into what the server takes.

    Args:
        names_filter: see the module's docstring.
        reach: of the run.
        has_dtype: whether another dtype is asked for, which integers cannot have.

    Raises:
        GlobNoMatchError: a function that matches nothing.
        HookNotFoundError: a short name of nothing that the model has.
        NeverFiresError: the run does not come to anything that a function matches, or to a name.
        ArgumentError: an empty name.
        ArgumentTypeError: another kind of filter.
    """
    if names_filter is None:
        names_filter = EVERYTHING
    if callable(names_filter):
        arguments.check_callable(names_filter, "names_filter", "a function of a name", "")
        catalogue = reach.catalogue()
        matched = [name for name in catalogue if names_filter(name)]
        if not matched:
            raise errors.GlobNoMatchError("names_filter matches none of the model's hook points")
        names = reach.kept(matched, "names_filter", captured=True)
        return Wanted(tuple(names), names, _integers(names, catalogue))
    hooks = _names(names_filter, reach)
    # The server knows where a run ends, but not that it starts anywhere but at the tokens; and it
    # takes one dtype for all that a glob matches.
    if reach.start is None and not (has_dtype and _integers(hooks, reach.catalogue())):
        return Wanted(hooks, {})
    return _resolved_here(hooks, reach)


def _names(names_filter: Any, reach: Reach) -> tuple[str, ...]:
    """The names and globs of a filter, each once."""
    given = names_filter
    if is_place(given):
        given = [given]
    if not dtypes.is_iterable(given):
        raise _no_filter(names_filter)
    names: dict[str, None] = {}
    for each in given:
        if not is_place(each):
            raise _no_filter(names_filter)
        if not (each if isinstance(each, str) else each[0]).strip():
            raise errors.ArgumentError(
                'an empty name in names_filter: "**" is every hook point, [] is none'
            )
        names.update(dict.fromkeys(_in_full(each, reach)))
    return tuple(names)


def _in_full(given: Any, reach: Reach) -> list[str]:
    """The names that a short name stands for; whatever is no short name, as it is."""
    if isinstance(given, str) and (is_glob(given) or "." in given):
        return [given]
    every = reach.catalogue()
    if not isinstance(given, str):
        return [full_name(given, every)]
    layers = range(1 + max((point.layer or 0 for point in every.points), default=0))
    full = get_act_name(given)
    if full in every:
        return [full]
    bare = given.removeprefix("hook_")
    found = [name for at in layers if (name := get_act_name(bare, at)) in every]
    if found and bare == given:
        return found
    near = nearest(full, every)
    if not near or (bare != given and not found):
        return [given]  # the server knows whether another Gemma 4 has it
    raise missing_hook(given, every)


def _no_filter(given: Any) -> errors.ArgumentTypeError:
    return errors.ArgumentTypeError(
        'names_filter must be None, a name, a glob, a short name such as ("resid_post", 3), a list '
        f"of these, or a function of a name, not {errors.shown(given)}"
    )


def _integers(hooks: Iterable[str], every: Catalogue) -> frozenset[str]:
    """Of names and globs, those of (or that match) hook points that hold integers."""
    integers = {
        name for name, point in every.by_name().items() if point.dtype.startswith(("int", "uint"))
    }
    found = {hook for hook in hooks if hook in integers}
    for glob in filter(is_glob, hooks):
        if any(map(glob_pattern(glob).fullmatch, integers)):
            found.add(glob)
    return frozenset(found)


def _resolved_here(hooks: Sequence[str], reach: Reach) -> Wanted:
    """Names and globs as the server resolves them, without what lies before the start."""
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
    return Wanted(tuple(asked), names, _integers(asked, catalogue))
