"""Hooks that stay from run to run, as TransformerLens's model keeps them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hookwire import errors, hooks
from hookwire.catalogue import Catalogue, is_glob

NO_GRADIENTS = (
    "gradients are not computed on the server; what the difference of two runs can tell is in "
    "docs/coming-from/transformer-lens.md"
)


@dataclass(frozen=True)
class _Standing:
    where: Any
    what: hooks.Change
    is_permanent: bool


class StandingHooks:
    """Hooks that were added one by one, and what functions keep in `hook.ctx`."""

    def __init__(self) -> None:
        self._standing: list[_Standing] = []
        self._places: dict[str, hooks.Hook] = {}

    def catalogue(self) -> Catalogue:
        """The hook points."""
        raise NotImplementedError

    def add_hook(
        self,
        name: str | Callable[[str], bool],
        hook_fn: Any,
        dir: str = "fwd",  # noqa: A002 - TransformerLens's name
        is_permanent: bool = False,
    ) -> None:
        """Adds a hook to every run from now on, until `reset_hooks`.

        It applies after the hooks that were added before it, and before those of a run.

        Args:
            name: a name, an alias, a glob, or a function of a name.
            hook_fn: a function `(tensor, hook)`, or an op of `hookwire.ops`.
            dir: must be "fwd".
            is_permanent: stays through `reset_hooks()`.

        Raises:
            UnsupportedError: `dir="bwd"`.
            HookNotFoundError, GlobNoMatchError: no such hook point.
        """
        if dir != "fwd":
            raise errors.UnsupportedError(f"dir={dir!r} is not supported: {NO_GRADIENTS}")
        _, what = hooks.pair((name, hook_fn))
        self._check(name)
        self._standing.append(_Standing(name, what, is_permanent))

    def add_perma_hook(
        self,
        name: str | Callable[[str], bool],
        hook_fn: Any,
        dir: str = "fwd",  # noqa: A002 - TransformerLens's name
    ) -> None:
        """`add_hook` with `is_permanent=True`."""
        self.add_hook(name, hook_fn, dir=dir, is_permanent=True)

    def _check(self, name: Any) -> None:
        points = self.catalogue().by_name()
        if callable(name):
            if not any(map(name, points)):
                raise errors.GlobNoMatchError("the function matches none of the hook points")
        elif is_glob(name):
            if not self.catalogue().match(name):
                raise errors.GlobNoMatchError(f"{name!r} matches none of the hook points")
        elif name not in points:
            near = difflib.get_close_matches(str(name), points, 1)
            raise errors.HookNotFoundError(
                f"this model has no hook point {name!r}"
                + (f"; did you mean {near[0]!r}?" if near else ""),
                metadata={"hook": str(name), **({"suggestion": near[0]} if near else {})},
            )

    def remove_all_hook_fns(
        self,
        direction: str = "both",
        including_permanent: bool = False,
        level: int | None = None,
    ) -> None:
        """Removes what was added, but for what is permanent.

        Args:
            direction: "fwd", "bwd" or "both"; there are no backward hooks.
            including_permanent: remove permanent ones too.
            level: not supported: hooks of a `with` block end with it.
        """
        if level is not None:
            raise errors.UnsupportedError("level is not supported: a block's hooks end with it")
        if direction == "bwd":
            return
        self._standing = [
            one for one in self._standing if one.is_permanent and not including_permanent
        ]

    def reset_hooks(
        self,
        clear_contexts: bool = True,
        direction: str = "both",
        including_permanent: bool = False,
        level: int | None = None,
    ) -> None:
        """`remove_all_hook_fns`, and `clear_contexts` unless that is False."""
        if clear_contexts:
            self.clear_contexts()
        self.remove_all_hook_fns(direction, including_permanent, level)

    def clear_contexts(self) -> None:
        """Empties every `hook.ctx`."""
        for place in self._places.values():
            place.clear_context()

    def _clear_contexts_of(self, names: Iterable[str]) -> None:
        """Empties the `hook.ctx` of these hook points."""
        for name in names:
            if name in self._places:
                self._places[name].clear_context()

    def _hook(self, name: str) -> hooks.Hook:
        """What functions at `name` are told; the same object from run to run."""
        return self._places.setdefault(name, hooks.Hook(name))

    def _standing_hooks(self) -> tuple[tuple[Any, hooks.Change], ...]:
        return tuple((one.where, one.what) for one in self._standing)

    def _keep(self, fwd_hooks: Any) -> None:
        """Lets a run's hooks outlive it."""
        for given in fwd_hooks:
            self._standing.append(_Standing(*hooks.pair(given), is_permanent=False))
