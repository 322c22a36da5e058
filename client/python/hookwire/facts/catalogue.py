"""The hook points of the model."""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

from hookwire import errors
from hookwire._proto import model_pb2
from hookwire._proto import tensor_pb2 as pb
from hookwire.errors import arguments, wording
from hookwire.errors.nearest import nearest
from hookwire.facts import display, dtypes
from hookwire.facts.names import get_act_name, with_short_names

POSITION = pb.Axis.KIND_POSITION
KEY_POSITION = pb.Axis.KIND_KEY_POSITION


@dataclass(frozen=True)
class Axis:
    """One axis of a hook point's tensor, for one row.

    Attributes:
        name: "pos", "key_pos", "head", "d_model", "d_head", "d_mlp", "d_vocab", "expert", ….
        size: its elements; 0 where that depends on the row.
        kind: the wire's number of what it counts.
    """

    name: str
    size: int
    kind: int


@dataclass(frozen=True)
class HookPoint:
    """A named place in the forward pass.

    Attributes:
        name: the canonical name, such as "blocks.3.attn.q.hook_out".
        aliases: other names of the same place, such as "blocks.3.attn.hook_q".
        layer: the layer it belongs to; None outside the blocks.
        axes: the axes of one row's tensor, outermost first; a result has the batch in front.
        dtype: "float32", "bfloat16", "int64", ….
        writable: whether an op or a function may change it.
        read_only_reason: why it cannot be changed, and what to change instead; else empty.
        module: the module of the checkpoint that it belongs to.
    """

    name: str
    aliases: tuple[str, ...]
    layer: int | None
    axes: tuple[Axis, ...]
    dtype: str
    writable: bool
    read_only_reason: str
    module: str

    @property
    def shape(self) -> tuple[str | int, ...]:
        """The shape of a result, such as `("batch", "pos", 64)`."""
        return ("batch", *(axis.size or axis.name for axis in self.axes))

    def add_hook(self, *_: Any, **__: Any) -> NoReturn:
        """Not available: there is no module here to put a hook on.

        Raises:
            NoModulesError: always; the message says what to use instead.
        """
        raise errors.NoModulesError(
            f"a hook point of a remote model is a name: use model.add_hook({self.name!r}, hook)"
        )

    def axis(self, kind: int) -> int | None:
        """Returns the number of the axis of this kind, counted from 0; None if there is none.

        Args:
            kind: a number of `Axis.Kind` in proto/hookwire/v1/tensor.proto.
        """
        for number, axis in enumerate(self.axes):
            if axis.kind == kind:
                return number
        return None


def is_glob(name: str) -> bool:
    """Whether the name has a `*`."""
    return "*" in name


def glob_pattern(glob: str) -> re.Pattern[str]:
    """`*` stays between dots, `**` crosses them."""
    parts = re.split(r"(\*+)", glob)
    pattern = "".join(
        re.escape(part) if number % 2 == 0 else (r"[^.]*" if part == "*" else r".*")
        for number, part in enumerate(parts)
    )
    return re.compile(pattern)


def is_short(given: object) -> bool:
    """Whether it is a short name with its layer, ("resid_post", 3) or ("scale", 3, "ln1")."""
    return (
        isinstance(given, tuple)
        and len(given) in (2, 3)
        and isinstance(given[0], str)
        and isinstance(given[1], numbers.Integral)
    )


def is_place(given: object) -> bool:
    """Whether it is one name: a full one, an alias, a glob, or a short name with its layer."""
    return isinstance(given, str) or is_short(given)


def full_name(given: Any, names: Iterable[str]) -> str:
    """The full name that a short name with its layer stands for; a string stays as it is.

    Args:
        given: a name for which `is_place` is true. Layers may count from the last one.
        names: of the model's hook points.

    Raises:
        HookNotFoundError: the model has no such layer.
    """
    if isinstance(given, str):
        return given
    short, at, *component = given
    last = max((int(one[1]) for each in names if (one := _IN_A_LAYER.match(each))), default=0)
    if not -last - 1 <= at <= last:
        raise errors.HookNotFoundError(f"{given!r}: the model has layers 0 to {last}")
    return get_act_name(short, int(at) % (last + 1), *component)


def name_for(point: HookPoint, asked: Iterable[Any]) -> str:
    """Which of a hook point's names a user has asked for; its own name, if none.

    Args:
        point: the hook point.
        asked: names and globs, the user's own first; something else counts as none.
    """
    names = (point.name, *point.aliases)
    for each in asked:
        if each in names:
            return str(each)
        if isinstance(each, str) and is_glob(each):
            matched = [*filter(glob_pattern(each).fullmatch, names)]
            if matched:
                return matched[0]
    return point.name


P = TypeVar("P")


class HookPoints(list[Any]):
    """The `HookPoint`s of a model, in the order of the pass."""

    def __repr__(self) -> str:
        return f"{len(self)} hook points {display.shortened([one.name for one in self])}"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        rows = [
            (one.name, display.shape(one.shape), one.dtype, ", ".join(one.aliases)) for one in self
        ]
        title = f"{len(self)} hook points"
        return display.table(title, ("name", "shape", "dtype", "aliases"), rows)


class HookDict(dict[str, P]):
    """Hook points by name and alias, and by short name: `hook_dict["resid_post", 3]`.

    A name that is none of these raises with the nearest.
    """

    def __repr__(self) -> str:
        return f"HookDict of {len(self)} names {display.shortened([*self])}"

    def _repr_html_(self) -> str:
        """A table for notebooks: each hook point once, with its aliases."""
        return HookPoints(dict.fromkeys(self.values()))._repr_html_()

    def _ipython_key_completions_(self) -> list[Any]:
        """The names for the Tab key, and the short names with their layers."""
        return with_short_names(self)

    def __missing__(self, name: object) -> P:
        full = full_name(name, self) if is_short(name) else name
        if dict.__contains__(self, full):
            return self[full]  # type: ignore[index]
        raise missing_hook(full, self)

    def __contains__(self, name: object) -> bool:
        return self.get(name) is not None

    def get(self, name: Any, default: Any = None) -> Any:
        """The hook point of a name, or else `default`."""
        if not is_short(name):
            return super().get(name, default)
        try:
            return super().get(full_name(name, self), default)
        except errors.HookNotFoundError:  # a layer that there is not
            return default


def missing_hook(name: object, names: Iterable[str]) -> errors.HookwireError:
    """The error for a hook point, or a glob, that none of these names is or matches."""
    known = list(names)
    if not isinstance(name, str):
        return errors.ArgumentTypeError(
            'a hook point is asked for by its name, such as "blocks.0.hook_resid_pre", not by '
            f"{errors.shown(name)}"
        )
    if not name.strip():
        return errors.HookNotFoundError(
            'the name of a hook point is empty: it is one such as "blocks.0.hook_resid_pre"',
            metadata={"hook": ""},
        )
    what = f"this model has no hook point {name!r}"
    cls: type[errors.HookwireError] = errors.HookNotFoundError
    if is_glob(name):
        what, cls = f"no hook point matches {name!r}", errors.GlobNoMatchError
    near, outside = _in_another_layer(name, known)
    if outside:
        what += f": it has layers {outside}"
    near = near or nearest(name, known, 1 if _IN_A_LAYER.match(name) else 3)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "model.hook_dict lists all"
    return cls(
        f"{what}; {hint}{wording.about_globs(name)}",
        metadata={"hook": name, **({"suggestion": near[0]} if near else {})},
    )


_IN_A_LAYER = re.compile(r"blocks\.(-?\d+)\.(.*)")


def _in_another_layer(name: str, known: Sequence[str]) -> tuple[list[str], str]:
    """Where the layer of a name is not the model's: the nearest that is, and the model's layers."""
    found = _IN_A_LAYER.fullmatch(name)
    layers = [int(one[1]) for each in known if (one := _IN_A_LAYER.match(each))]
    if found is None or not layers or int(found[1]) in layers:
        return [], ""
    last = max(layers)
    near = f"blocks.{last if int(found[1]) > last else 0}.{found[2]}"
    return [near] if near in known else [], f"0 to {last}"


@arguments.checked_methods("catalogue")
class Catalogue:
    """All hook points, in the order in which the pass comes to them."""

    def __init__(self, hooks: Iterable[model_pb2.HookPoint]) -> None:
        self.points = tuple(map(_point, hooks))
        self._by_name: dict[str, HookPoint] = {}
        for point in self.points:
            for name in (point.name, *point.aliases):
                self._by_name[name] = point
        self._before: dict[int, frozenset[str]] = {}
        self._since: dict[int, frozenset[str]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def get(self, name: str) -> HookPoint | None:
        """The hook point with this name or alias."""
        return self._by_name.get(name)

    def by_name(self) -> Mapping[str, HookPoint]:
        """Every name and alias, each canonical name before its aliases."""
        return MappingProxyType(self._by_name)

    def match(self, glob: str) -> list[str]:
        """The names and aliases that a glob matches.

        Raises:
            ArgumentTypeError: no string.
        """
        if not isinstance(glob, str):
            raise missing_hook(glob, self)
        pattern = glob_pattern(glob)
        return [name for name in self._by_name if pattern.fullmatch(name)]

    def before(self, stop_at_layer: int) -> frozenset[str]:
        """Canonical names that the pass comes to when it ends before this layer."""
        found = self._before.get(stop_at_layer)
        if found is None:
            layers = [point.layer for point in self.points]
            # Behind the last layer come the final norm and the unembedding.
            last = max((at for at, layer in enumerate(layers) if layer is not None), default=-1)
            later = [
                at
                for at, layer in enumerate(layers)
                if layer is not None and layer >= stop_at_layer
            ]
            end = later[0] if later else last
            found = frozenset(
                point.name
                for at, point in enumerate(self.points)
                if (at < end if point.layer is None else point.layer < stop_at_layer)
            )
            self._before[stop_at_layer] = found
        return found

    def since(self, start_at_layer: int) -> frozenset[str]:
        """Canonical names whose values are a pass's own that starts at this layer.

        These are the layers from there on, what follows them, and the tables of the rotary
        embedding, which depend on positions alone.
        """
        found = self._since.get(start_at_layer)
        if found is None:
            has_layer = [point.layer is not None for point in self.points]
            last = len(has_layer) - 1 - has_layer[::-1].index(True) if any(has_layer) else -1
            found = frozenset(
                point.name
                for at, point in enumerate(self.points)
                if (at > last if point.layer is None else point.layer >= start_at_layer)
                or point.name.endswith((".hook_cos", ".hook_sin"))
            )
            self._since[start_at_layer] = found
        return found


def _point(hook: model_pb2.HookPoint) -> HookPoint:
    return HookPoint(
        name=hook.name,
        aliases=tuple(hook.aliases),
        layer=hook.layer if hook.HasField("layer") else None,
        axes=tuple(Axis(axis.name, axis.size, axis.kind) for axis in hook.axes),
        dtype=dtypes.NAMES.get(hook.dtype, "unknown"),
        writable=hook.writable,
        read_only_reason=hook.read_only_reason,
        module=hook.module,
    )
