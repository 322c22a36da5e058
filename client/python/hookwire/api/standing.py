"""Hooks that stay from run to run, as TransformerLens's model keeps them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hookwire import errors
from hookwire.api.active import ActiveHook, ActiveHooks
from hookwire.ask import hooks, interventions, reach
from hookwire.errors import arguments
from hookwire.facts import not_here, selection
from hookwire.facts.catalogue import Catalogue, full_name, is_glob, is_place, is_short, missing_hook

if TYPE_CHECKING:
    from typing_extensions import Self

HooksInForce = tuple[tuple[Any, hooks.Change], ...]


@arguments.checked_methods("model")
class StandingHooks:
    """Hooks that outlive a run, and what functions keep in `hook.ctx`.

    They belong to the model: those that were added one by one and those of `with` blocks apply, in
    the order in which they were added, to every run of every thread and asynchronous task. A run
    has the hooks that are in force when it is asked for; what is added or removed later leaves it
    alone.
    """

    def __init__(self) -> None:
        # Never changed in place, so that a run may read it while another thread adds to it.
        self._standing: tuple[ActiveHook, ...] = ()
        self._standing_lock = threading.Lock()
        self._places: dict[str, hooks.Hook] = {}

    def catalogue(self) -> Catalogue:
        """The hook points."""
        raise NotImplementedError

    def add_hook(
        self,
        name: str | Sequence[Any] | Callable[[str], bool],
        hook_fn: Any,
        dir: str = "fwd",  # noqa: A002 - TransformerLens's name
        is_permanent: bool = False,
    ) -> None:
        """Adds a hook to every run from now on, until `reset_hooks`.

        It applies after the hooks that were added before it, those of `with` blocks included, and
        before the hooks of a single run. A hook that is added inside a `with model.hooks(…)` block
        stays after the block.

        Args:
            name: a name, an alias, a glob, a short name with its layer, such as ("resid_post", 3),
                a list of these, or a function that is called with each name and returns whether it
                is meant.
            hook_fn: a function `(tensor, hook)`, or an op of `hookwire.ops`.
            dir: must be "fwd".
            is_permanent: keep the hook in `reset_hooks()`.

        Raises:
            UnsupportedError: `dir="bwd"`.
            ArgumentTypeError: `hook_fn` is neither, or `name` is not a place.
            HookNotFoundError, AbsentHookError, GlobNoMatchError: no such hook point.
        """
        if selection.one_of(dir, ("fwd", "bwd"), "dir") == "bwd":
            raise errors.UnsupportedError(f"dir={dir!r} is not supported: {not_here.NO_GRADIENTS}")
        what = hooks.change(hook_fn)
        self._check_now(name, "name")
        self._add([ActiveHook(name, what, is_permanent)])

    def add_perma_hook(
        self,
        name: str | Sequence[Any] | Callable[[str], bool],
        hook_fn: Any,
        dir: str = "fwd",  # noqa: A002 - TransformerLens's name
    ) -> None:
        """Adds a hook that `reset_hooks()` keeps. The same as `add_hook` with `is_permanent=True`.

        Args:
            name: as in `add_hook`.
            hook_fn: as in `add_hook`.
            dir: must be "fwd".

        Raises:
            HookwireError: as in `add_hook`.
        """
        self.add_hook(name, hook_fn, dir=dir, is_permanent=True)

    def _check_now(self, where: Any, what: str) -> None:
        """As `_check`, of what the server holds now, which knows why a hook point is absent."""
        try:
            self._check(where, self.catalogue(), what)
        except (errors.HookNotFoundError, errors.GlobNoMatchError) as error:
            if error.hook:
                self._ask_why(error.hook)
            raise

    def _ask_why(self, name: str) -> None:
        """Has the server refuse the name or glob of a hook point that it does not have.

        Raises:
            HookNotFoundError, AbsentHookError, GlobNoMatchError: it does.
        """
        raise NotImplementedError

    def _check(self, where: Any, every: Catalogue, what: str = "name") -> None:
        """Checks that a hook has a place among these hook points.

        Args:
            where: the place.
            every: the hook points.
            what: the argument that has the place, for the message.

        Raises:
            HookNotFoundError, GlobNoMatchError: it has none.
            ArgumentTypeError: this is no place.
        """
        if is_short(where):
            where = full_name(where, every)
        if isinstance(where, (list, tuple)) and all(map(is_place, where)):
            if not where:
                raise errors.GlobNoMatchError("a hook has an empty list of hook points")
            for one in where:
                self._check(one, every, what)
        elif callable(where):
            arguments.check_callable(where, what, "a function of a name", "")
            if not any(map(where, every)):
                raise errors.GlobNoMatchError("the function matches none of the hook points")
        elif not isinstance(where, str):
            raise errors.ArgumentTypeError(
                f"{what} must be that of a hook point, an alias, a glob, a short name such as "
                '("resid_post", 3), a list of these, or a function of a name, not '
                f"{errors.shown(where)}"
            )
        elif where not in every and not (is_glob(where) and every.match(where)):
            raise missing_hook(where, every)

    def remove_all_hook_fns(
        self,
        direction: str = "both",
        including_permanent: bool = False,
        level: int | None = None,
    ) -> None:
        """Removes all hooks that are not permanent, those of `with` blocks too.

        Args:
            direction: "fwd", "bwd" or "both". There are no backward hooks, so "bwd" removes none.
            including_permanent: remove permanent hooks too.
            level: not supported: must be None. Hooks of a `with` block end with the block.

        Raises:
            UnsupportedError: `level` is given.
            ArgumentError: another `direction`.
        """
        if level is not None:
            raise errors.UnsupportedError("level is not supported: a block's hooks end with it")
        selection.one_of(direction, ("fwd", "bwd", "both"), "direction")
        if direction == "bwd":
            return
        with self._standing_lock:
            self._standing = tuple(
                one for one in self._standing if one.is_permanent and not including_permanent
            )

    def reset_hooks(
        self,
        clear_contexts: bool = True,
        direction: str = "both",
        including_permanent: bool = False,
        level: int | None = None,
    ) -> None:
        """Removes all hooks that are not permanent, and empties every `hook.ctx`.

        Args:
            clear_contexts: empty every `hook.ctx`, as the method of that name does.
            direction: as in `remove_all_hook_fns`.
            including_permanent: as in `remove_all_hook_fns`.
            level: not supported: must be None.

        Raises:
            UnsupportedError: `level` is given.
        """
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

    def active_hooks(self) -> ActiveHooks:
        """Returns the hooks that apply to a run that starts now, in the order in which they apply.

        They come from `add_hook`, and from `with model.hooks(…)` blocks that have not ended.
        Printing them shows a list; a notebook shows a table.
        """
        return ActiveHooks(self._standing)

    def _hooks_in_force(self) -> HooksInForce:
        """What applies to a run that is asked for now, in the order in which it was added."""
        return tuple((one.where, one.what) for one in self._standing)

    @contextmanager
    def _block(
        self, fwd_hooks: Iterable[tuple[Any, hooks.Change]], *, stay: bool
    ) -> Iterator[None]:
        """Applies hooks until the end of a block; with `stay`, to what comes after it too."""
        added = [ActiveHook(*pair) for pair in fwd_hooks]
        self._add(added)
        try:
            yield
        finally:
            # What a reset has removed is not there any more, and stays removed.
            if not stay:
                with self._standing_lock:
                    self._standing = tuple(one for one in self._standing if one not in added)

    def _keep(self, fwd_hooks: Iterable[tuple[Any, hooks.Change]]) -> None:
        """Lets a run's hooks outlive it."""
        self._add([ActiveHook(*pair) for pair in fwd_hooks])

    def _add(self, more: Iterable[ActiveHook]) -> None:
        with self._standing_lock:
            self._standing = (*self._standing, *more)

    @contextmanager
    def hooks(
        self,
        fwd_hooks: Sequence[tuple[Any, Any]] = (),
        bwd_hooks: Sequence[Any] = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
    ) -> Iterator[Self]:
        """Applies hooks to all runs of the model until a `with` block ends.

        They apply before the hooks of a single run. They belong to the model, as those of
        `add_hook` do: runs of other threads and asynchronous tasks have them too, and two blocks
        that are open at the same time apply to the runs of both. For hooks of one run alone, pass
        `fwd_hooks` to `run_with_hooks` or `run_with_cache`.

        Args:
            fwd_hooks: as in `run_with_hooks`.
            bwd_hooks: not supported: must be empty.
            reset_hooks_end: False keeps the hooks after the block, as `add_hook` does.
            clear_contexts: at the end of the block, empty `hook.ctx` of the hook points that have
                these hooks.

        Yields:
            The model.

        Raises:
            UnsupportedError: `bwd_hooks` is given.
            HookNotFoundError, AbsentHookError, GlobNoMatchError: no such hook point; the block is
                not entered.
        """
        not_here.refuse(bwd_hooks=bwd_hooks)
        added = hooks.pairs(fwd_hooks)
        for number, (where, _) in enumerate(added):
            self._check_now(where, f"the place of fwd_hooks[{number}]")
        try:
            with self._block(added, stay=not reset_hooks_end):
                yield self
        finally:
            if clear_contexts:
                self._clear_contexts_after(added)

    def _after_hooks(
        self,
        fwd_hooks: Sequence[tuple[Any, Any]],
        reset_hooks_end: bool,
        clear_contexts: bool,
    ) -> None:
        """What becomes of hooks, and of what functions kept, after a run."""
        if not reset_hooks_end:
            self._keep(hooks.pairs(fwd_hooks))
        if clear_contexts:
            self._clear_contexts_after(fwd_hooks)

    def _clear_contexts_after(self, fwd_hooks: Sequence[tuple[Any, Any]]) -> None:
        """Empties the `hook.ctx` of the places of these hooks."""
        anywhere = reach.Reach(self.catalogue)
        points = self.catalogue().by_name()
        for where, _ in fwd_hooks:
            names = interventions.names_of(where, anywhere, expand=True)
            self._clear_contexts_of(points[name].name for name in names if name in points)
