"""Python functions as hooks: they run here, while the forward pass waits at the hook point.

    def knock_out(pattern, hook):
        pattern[:, 3] = 0          # in place, or return another tensor

    model.run_with_hooks(prompt, fwd_hooks=[("blocks.2.attn.hook_pattern", knock_out)])

A function gets the whole tensor, [batch, pos, …], and the `Hook`, as in TransformerLens. The pass
goes on with the tensor that it returns, or, if it returns None, with the tensor as the function has
left it (after `x[:] = …`, and after `x.data = …` too). Positions that are padding hold zeros, and
changes there have no effect. At a hook point that cannot be written, a function may read; a change
there is an error. If a function raises an exception, the run raises it too, with a note that names
the hook point.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hookwire import errors, ops
from hookwire.errors import arguments
from hookwire.facts import dtypes

HookFunction = Callable[..., Any]
"""`function(tensor, hook)`, which returns a tensor of the same shape, or None. `hook` is passed by
keyword, so that `function(tensor, *, hook)` is one too."""


@dataclass
class Hook:
    """The hook point at which a function was called.

    Attributes:
        name: the canonical name of the hook point.
        ctx: a dict for the function's own use. It stays from run to run, until contexts are
            cleared.
    """

    name: str
    ctx: dict[Any, Any] = field(default_factory=dict)

    def layer(self) -> int:
        """Returns the number of the layer that the hook point belongs to.

        Raises:
            ArgumentError: the hook point is in no layer.
        """
        parts = self.name.split(".")
        if parts[0] != "blocks":
            raise errors.ArgumentError(f"{self.name} is in no layer")
        return int(parts[1])

    def clear_context(self) -> None:
        """Empties `ctx`."""
        self.ctx.clear()


@dataclass(frozen=True)
class Callback:
    """A function as an intervention.

    Attributes:
        function: what is called.
        read_only: the function only reads: the pass does not wait for it.
    """

    function: HookFunction
    read_only: bool = False

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise errors.ArgumentTypeError(
                f"a hook's function cannot be {errors.shown(self.function)}, which is not callable"
            )
        try:
            inspect.signature(self.function).bind(None, hook=None)
        except ValueError:
            return  # some that are written in C do not say what they take
        except TypeError as error:
            raise errors.ArgumentTypeError(
                f"{self!r} is called as function(tensor, hook=hook), which it does not take: "
                f"{error}"
            ) from None

    def __call__(self, tensor: Any, hook: Hook) -> Any:
        """Calls the function, with `hook` by keyword, as TransformerLens does."""
        return self.function(tensor, hook=hook)

    def __repr__(self) -> str:
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        return f"hookwire.read_only({name})" if self.read_only else str(name)


@arguments.checked("hookwire.read_only")
def read_only(function: HookFunction) -> Callback:
    """Marks a function that only reads the tensor, so that the pass does not wait for it.

    The function is called when its tensor has arrived, in the order of the pass. It may be used at
    hook points that cannot be written. What it returns, or writes into the tensor, has no effect.
    Also a decorator:

        @hookwire.read_only
        def norm(resid, hook):
            print(hook.layer(), resid.norm())

    Args:
        function: `(tensor, hook)`, with a tensor [batch, pos, …].

    Returns:
        What `fwd_hooks` and `add_hook` take in place of the function.

    Raises:
        ArgumentTypeError: it is not a function, or cannot be called as `function(tensor, hook=…)`.
    """
    return Callback(function, read_only=True)


Change = ops.Op | Callback
"""What is done at a hook point."""


def change(given: object) -> Change:
    """An op, or a function as an intervention.

    Raises:
        ArgumentTypeError: neither, or a function that cannot be called as `function(tensor,
            hook=…)`.
    """
    if isinstance(given, ops.Op):
        if type(given).write is ops.Op.write:
            raise ops.unknown(given)
        return given
    if isinstance(given, Callback):
        return given
    for maker in (ops.set, ops.add, ops.scale, ops.zero, ops.copy):
        if given is maker:
            raise errors.ArgumentTypeError(
                f"a hook takes an op, and ops.{maker.__name__} is the function that makes one: "
                f"call it, as in ops.{maker.__name__}(…)"
            )
    if isinstance(given, type) and issubclass(given, ops.Op):
        raise errors.ArgumentTypeError(
            f"a hook takes an op, and {given.__name__} is a class of ops: use one that "
            "hookwire.ops makes, such as ops.set(value) or ops.zero()"
        )
    if not callable(given):
        raise errors.ArgumentTypeError(
            "a hook is (name, function) or (name, op) with an op of hookwire.ops, not "
            f"{errors.shown(given)}"
        )
    return Callback(given)


def pairs(fwd_hooks: Any) -> tuple[tuple[Any, Change], ...]:
    """The entries of `fwd_hooks`, checked.

    Raises:
        ArgumentTypeError: it is no list of pairs of where and what.
    """
    if not dtypes.is_iterable(fwd_hooks) or isinstance(fwd_hooks, (str, Mapping)):
        raise errors.ArgumentTypeError(
            "fwd_hooks must be a list of pairs (name, function or op), not "
            f"{errors.shown(fwd_hooks)}"
        )
    if isinstance(fwd_hooks, tuple) and len(fwd_hooks) == 2 and isinstance(fwd_hooks[0], str):
        raise errors.ArgumentTypeError(
            "fwd_hooks must be a list of pairs, and this is one pair: put it into a list, "
            f"[({fwd_hooks[0]!r}, …)]"
        )
    found = []
    for given in fwd_hooks:
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            raise errors.ArgumentTypeError(
                f"fwd_hooks holds pairs (name, function or op), not {errors.shown(given)}"
            )
        where, what = given
        if isinstance(what, str) and not isinstance(where, str):
            raise errors.ArgumentTypeError(
                f"fwd_hooks holds pairs (name, function or op), with the name first: {what!r} "
                "stands second"
            )
        found.append((where, change(what)))
    return tuple(found)
