"""The hooks that stay from run to run, as a user sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hookwire.ask import hooks
from hookwire.facts import display


# Two that are alike are two: they are told apart by identity.
@dataclass(frozen=True, eq=False)
class ActiveHook:
    """A hook that applies to every run.

    Attributes:
        where: its place, as it was given: a name, an alias, a glob, a short name with its layer, a
            list of these, or a function of a name.
        what: an op of `hookwire.ops`, or a function.
        is_permanent: `reset_hooks()` does not remove it.
    """

    where: Any
    what: hooks.Change
    is_permanent: bool = False

    def place(self) -> str:
        """Returns the place as text; of a function, its name."""
        if callable(self.where):
            return str(getattr(self.where, "__qualname__", type(self.where).__name__))
        return self.where if isinstance(self.where, str) else repr(self.where)


class ActiveHooks(tuple[ActiveHook, ...]):
    """The hooks of a model, in the order in which they apply. A tuple of `ActiveHook`."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self:
            return "no active hooks"
        lines = (
            f"{one.place()}: {one.what!r}{' (permanent)' if one.is_permanent else ''}"
            for one in self
        )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        rows = [(one.place(), repr(one.what), "yes" * one.is_permanent) for one in self]
        title = "1 active hook" if len(self) == 1 else f"{len(self) or 'no'} active hooks"
        return display.table(title, ("where", "what", "permanent") if rows else (), rows)
