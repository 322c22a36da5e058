"""TransformerLens's declarative interventions, as ops.

A spec is a mapping: `{"op": "suppress"}`, `{"op": "scale", "factor": 0.5}`, `{"op": "add", "value":
v}` or `{"op": "set", "value": v}`, each with `"pos"`, an int or a list of ints, or without, for all
positions. A value is a number, as wide as the hook point, or [positions, width]; where the hook
point has heads, the width is d_head or all heads' together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hookwire import errors, ops
from hookwire.api.blocking.model import RemoteModel
from hookwire.facts import dtypes
from hookwire.facts.catalogue import HookPoint

Hooks = list[tuple[str, Any]]
_NEEDS: dict[str, str | None] = {
    "suppress": None,
    "scale": "factor",
    "add": "value",
    "set": "value",
}


def changes(remote: RemoteModel, intervene: Mapping[str, Any] | None) -> Hooks:
    """Hooks for `RemoteModel.run_with_hooks`.

    Args:
        remote: the model.
        intervene: by name or alias, a spec or a function of a tensor.

    Raises:
        ArgumentError: a spec that is none.
    """
    if intervene is not None and not isinstance(intervene, Mapping):
        raise errors.ArgumentTypeError(
            "intervene must be a dict of names and what is done there, such as "
            f"{{'blocks.2.hook_out': {{'op': 'suppress'}}}}, not {errors.shown(intervene)}"
        )
    return [(name, change(remote, name, given)) for name, given in (intervene or {}).items()]


def change(remote: RemoteModel, name: str, given: Any) -> Any:
    """An op, or a function of a tensor and a hook. See `changes`."""
    if callable(given):
        return lambda tensor, hook: given(tensor)
    if not isinstance(given, Mapping) or "op" not in given:
        raise errors.ArgumentError(
            f"the intervention at {name!r} must be a dict with an 'op', not {given!r}"
        )
    kind, needed = given["op"], _NEEDS.get(given["op"])
    if kind not in _NEEDS:
        raise errors.ArgumentError(
            f"op {kind!r} at {name!r} is not one of {', '.join(sorted(_NEEDS))}"
        )
    allowed = {"op", "pos", *([needed] if needed else [])}
    if needed and needed not in given:
        raise errors.ArgumentError(f"op {kind!r} at {name!r} needs {needed!r}")
    if set(given) - allowed:
        unknown = sorted(set(given) - allowed)
        raise errors.ArgumentError(
            f"op {kind!r} at {name!r} knows no {unknown}; only {sorted(allowed)}"
        )
    pos = _positions(name, given.get("pos"))
    if kind == "suppress":
        return ops.zero(pos=pos)
    if kind == "scale":
        return ops.scale(given["factor"], pos=pos)
    value = _value(given["value"], remote.catalogue().get(name))
    return ops.set(value, pos=pos) if kind == "set" else ops.add(value, pos=pos)


def _positions(name: str, pos: Any) -> Any:
    places = [pos] if not isinstance(pos, (list, tuple)) else pos
    if pos is not None and not all(type(place) is int for place in places):
        raise errors.ArgumentError(
            f"'pos' at {name!r} must be an int or a list of ints, not {pos!r}"
        )
    return pos


def _value(value: Any, point: HookPoint | None) -> Any:
    """The value, with the axis of all heads' elements made two."""
    if isinstance(value, (int, float)) or point is None:
        return value
    axes = [axis.name for axis in point.axes]
    array = dtypes.to_numpy(value)
    if axes[:2] != ["pos", "head"] or not array.ndim:
        return value
    n_heads, width = point.axes[1].size, point.axes[2].size
    if array.shape[-1] != n_heads * width or array.shape[-2:] == (n_heads, width):
        return value
    return array.reshape(*array.shape[:-1], n_heads, width)
