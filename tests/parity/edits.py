"""One edit, in the two forms that a test needs: an op for Hookwire and a function for PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tests.parity.direct import Edit, Seen

KINDS = ("set", "add", "scale", "zero", "copy")
# Not exact in bfloat16: a number enters unrounded, as in PyTorch.
FACTOR = -0.7


@dataclass(frozen=True)
class Selection:
    """Which elements of a hook point's tensor; None is a whole axis."""

    pos: tuple[int, ...] | None = None
    head: tuple[int, ...] | None = None
    feature: tuple[int, ...] | None = None

    def index(self, name: str, shape: torch.Size) -> tuple[Tensor, ...]:
        """Index tensors that pick the selection out of a tensor, every axis kept."""
        picks = []
        for axis, (kind, size) in enumerate(zip(axes(name, len(shape)), shape, strict=True)):
            chosen = getattr(self, kind)
            pick = torch.tensor(range(size) if chosen is None else chosen)
            picks.append(pick.view([-1 if other == axis else 1 for other in range(len(shape))]))
        return tuple(picks)

    def arguments(self) -> dict[str, list[int]]:
        """As keyword arguments of `hookwire.ops`."""
        picks = {"pos": self.pos, "head": self.head, "feature": self.feature}
        return {name: list(pick) for name, pick in picks.items() if pick is not None}


def axes(name: str, count: int) -> tuple[str, ...]:
    """What the axes of a hook point's tensor, which has no batch, count."""
    if name.endswith(("hook_pattern", "hook_attn_scores")):
        return ("head", "pos", "feature")
    return ("pos", "head", "feature") if count == 3 else ("pos", "feature")


@dataclass(frozen=True)
class Change:
    """An edit of one kind at one hook point.

    Attributes:
        name: the hook point.
        kind: of `KINDS`.
        where: what it changes.
        value: of `set` and `add`: the selection's shape.
    """

    name: str
    kind: str
    where: Selection
    value: Tensor | None = None

    def op(self, ops: Any, *, row: int | None, from_row: int) -> Any:
        """As a Hookwire op on one row, or on all; `copy` takes from another."""
        where = {**self.where.arguments(), "row": row}
        match self.kind:
            case "set":
                return ops.set(self.value, **where)
            case "add":
                return ops.add(self.value, **where)
            case "scale":
                return ops.scale(FACTOR, **where)
            case "zero":
                return ops.zero(**where)
            case "copy":
                return ops.copy(from_row=from_row, **where)
        raise ValueError(self.kind)

    def edit(self, source: Seen | None = None) -> tuple[str, Edit]:
        """As a function on a copy of the tensor; `copy` takes out of `source`."""

        def edit(x: Tensor) -> Tensor:
            index = self.where.index(self.name, x.shape)
            apply(x, index, self.kind, self.name, self.value, FACTOR, source)
            return x

        return self.name, edit


def apply(
    x: Tensor,
    index: Any,
    kind: str,
    name: str,
    value: Tensor | None,
    factor: float,
    source: Seen | None,
) -> None:
    """Changes `x`, the tensor at hook point `name`, at `index` as the op of this kind says."""
    match kind:
        case "set":
            x[index] = value.to(x)
        case "add":
            x[index] = x[index] + value.to(x)
        case "scale":
            x[index] = x[index] * factor
        case "zero":
            x[index] = 0
        case "copy":
            assert source is not None
            x[index] = source.exact(name).to(x.device)[index]
        case _:
            raise ValueError(kind)


def change(name: str, kind: str, sample: Tensor, seed: int) -> Change:
    """A random change at a hook point: some positions, heads and elements, or all of an axis.

    Args:
        name: the hook point.
        kind: of `KINDS`.
        sample: the hook point's tensor in some run of as many tokens.
        seed: another seed selects other elements and draws other values.
    """
    generator = torch.Generator().manual_seed(seed)

    def some(size: int) -> tuple[int, ...] | None:
        if torch.rand((), generator=generator) < 0.4:
            return None
        count = int(torch.randint(1, size + 1, (), generator=generator))
        return tuple(torch.randperm(size, generator=generator)[:count].tolist())

    picks = {
        kind_of_axis: some(size)
        for kind_of_axis, size in zip(axes(name, sample.dim()), sample.shape, strict=True)
    }
    if name.endswith("router.hook_out") and kind == "zero":
        # All shares zero would leave nothing to share out: keep some experts.
        picks["feature"] = (0, 2)
    where = Selection(**picks)
    shape = sample[where.index(name, sample.shape)].shape
    value = torch.randn(shape, generator=generator)
    if name.endswith(("hook_scale", "router.hook_out", "hook_weights", "hook_pattern")):
        value = value.abs() + 0.1  # divisors and shares are positive
    return Change(name, kind, where, value.to(sample.dtype))
