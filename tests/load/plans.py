"""Random runs, made from a seed: the same plan in every process.

A plan is what a user could write: prompts of different lengths, hook points to read, ops and
functions to change them, positions, dtypes, outputs. Values are short binary fractions, so that no
dtype rounds them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import hookwire
import numpy as np
from hookwire import HookPoint, ops
from hookwire.facts.catalogue import KEY_POSITION, POSITION, glob_pattern

Array = np.ndarray[Any, Any]
Answer = dict[str, Array]
"""What a run returned: hook points by their canonical names, and "output"."""

FACTOR = -0.75
BOS, FIRST_WORD = 2, 4
LONGEST = 40
# Where a negative or a zero value would divide by it, or share nothing out.
POSITIVE = ("hook_scale", "hook_weights", "hook_pattern")
# Names as users write them; those that this model does not have are left out.
GLOBS = (
    "blocks.*.attn.hook_pattern",
    "blocks.*.attn.hook_attn_scores",
    "blocks.*.hook_resid_post",
    "blocks.*.mlp.**",
    "blocks.0.**",
    "**",
)


@dataclass(frozen=True)
class Edit:
    """A change at one hook point; None selects a whole axis.

    Attributes:
        name: the hook point.
        kind: "set", "add", "scale", "zero" or "copy" (from row 0), which the server does, or
            "function", which this process does: it scales everything.
        rows: which rows.
        value: of "set" and "add": one number, or one for each selected element of the last axis.
    """

    name: str
    kind: str
    rows: tuple[int, ...] | None = None
    pos: tuple[int, ...] | None = None
    head: tuple[int, ...] | None = None
    feature: tuple[int, ...] | None = None
    value: float | tuple[float, ...] = 0.0

    def hook(self) -> tuple[str, Any]:
        """As a pair of `fwd_hooks`."""
        if self.kind == "function":
            return self.name, _scale
        where: dict[str, Any] = {
            "row": self.rows, "pos": self.pos, "head": self.head, "feature": self.feature,
        }  # fmt: skip
        where = {name: list(chosen) for name, chosen in where.items() if chosen is not None}
        value = np.asarray(self.value, np.float32) if isinstance(self.value, tuple) else self.value
        match self.kind:
            case "set":
                return self.name, ops.set(value, **where)
            case "add":
                return self.name, ops.add(value, **where)
            case "scale":
                return self.name, ops.scale(FACTOR, **where)
            case "copy":
                return self.name, ops.copy(from_row=0, **where)
        return self.name, ops.zero(**where)


@dataclass(frozen=True)
class Plan:
    """One run.

    Attributes:
        seed: that it was made from.
        prompts: token ids of each row.
        names: hook points to read, or globs.
        edits: in order; no two at one hook point.
        looks: a hook point that a function only looks at.
        arguments: of `run_with_cache`, all others.
    """

    seed: int
    prompts: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]
    edits: tuple[Edit, ...] = ()
    looks: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)

    def run(self, model: hookwire.RemoteModel) -> Answer:
        """Asks a server."""
        hooks = [edit.hook() for edit in self.edits]
        if self.looks is not None:
            hooks.append((self.looks, hookwire.read_only(_look)))
        output, cache = model.run_with_cache(
            [list(prompt) for prompt in self.prompts],
            names_filter=list(self.names),
            fwd_hooks=hooks,
            padding_side="right",
            **self.arguments,
        )
        points = model.hook_dict
        answer = {points[name].name: np.asarray(cache[name]) for name in cache}
        return answer if output is None else {**answer, "output": np.asarray(output)}


def _scale(tensor: Any, hook: Any) -> Any:
    return tensor * tensor.dtype.type(FACTOR)


def _look(tensor: Any, hook: Any) -> None:
    assert tensor.size


class Maker:
    """Makes plans for one model.

    Args:
        model: that a server has.
    """

    def __init__(self, model: hookwire.RemoteModel) -> None:
        self._catalogue = model.catalogue()
        self._n_layers, self._d_vocab = model.cfg.n_layers, model.cfg.d_vocab

    def make(self, seed: int) -> Plan:
        """The plan of this seed."""
        rng = random.Random(seed)
        prompts = self._prompts(rng)
        shortest = min(map(len, prompts))
        arguments: dict[str, Any] = {"return_type": None}
        points = list(self._catalogue.points)
        if rng.random() < 0.25:  # the residual stream comes with it
            stop = arguments["stop_at_layer"] = rng.randint(1, self._n_layers)
            before = self._catalogue.before(stop)
            points = [point for point in points if point.name in before]
        elif rng.random() < 0.5:
            self._outputs(rng, arguments, shortest)
        names = self._names(rng, points)
        chosen = self._chosen(names, points)
        if rng.random() < 0.25:
            arguments["pos_slice"] = _some(rng, shortest)
        if rng.random() < 0.2 and all(point.dtype != "int64" for point in chosen):
            arguments["dtype"] = rng.choice(("bfloat16", "float64"))
        if rng.random() < 0.1:
            arguments["moment"] = "before"
        # What nothing behind it is asked for would be an error.
        last = max(points.index(point) for point in chosen)
        reach = points if arguments["return_type"] else points[: last + 1]
        edits = self._edits(rng, reach, prompts)
        looks = rng.choice(chosen).name if rng.random() < 0.05 else None
        return Plan(seed, prompts, names, edits, looks, arguments)

    def _prompts(self, rng: random.Random) -> tuple[tuple[int, ...], ...]:
        rows = rng.choice((1, 1, 1, 2, 3, 5))
        length = rng.randint(2, LONGEST)
        equal = rng.random() < 0.3
        return tuple(
            (BOS, *(rng.randrange(FIRST_WORD, self._d_vocab) for _ in range(count - 1)))
            for count in (length if equal else rng.randint(2, LONGEST) for _ in range(rows))
        )

    @staticmethod
    def _outputs(rng: random.Random, arguments: dict[str, Any], shortest: int) -> None:
        if rng.random() < 0.3:
            arguments |= {"return_type": "loss", "loss_per_token": True}
            return
        arguments["return_type"] = "logits"
        logits_pos = rng.choice((None, -1, _some(rng, shortest)))
        if logits_pos is not None:
            arguments["logits_pos"] = logits_pos

    @staticmethod
    def _names(rng: random.Random, points: Sequence[HookPoint]) -> tuple[str, ...]:
        globs = [glob for glob in GLOBS if _matching(glob, points)]
        if rng.random() < 0.15 and globs:
            return (rng.choice(globs),)
        count = 1 if rng.random() < 0.5 else rng.randint(2, 8)
        some = rng.sample(list(points), min(count, len(points)))
        return tuple(rng.choice((point.name, *point.aliases)) for point in some)

    @staticmethod
    def _chosen(names: Sequence[str], points: Sequence[HookPoint]) -> list[HookPoint]:
        """The hook points that names, aliases and globs stand for."""
        return [point for name in names for point in _matching(name, points)]

    def _edits(
        self, rng: random.Random, points: Sequence[HookPoint], prompts: Sequence[Sequence[int]]
    ) -> tuple[Edit, ...]:
        # Equal shares would leave it open which experts are chosen.
        places = [point for point in points if point.writable and ".router." not in point.name]
        count = min(rng.choice((0, 0, 1, 1, 2, 3)), len(places))
        return tuple(self._edit(rng, point, prompts) for point in rng.sample(places, count))

    @staticmethod
    def _edit(rng: random.Random, point: HookPoint, prompts: Sequence[Sequence[int]]) -> Edit:
        positive = point.name.endswith(POSITIVE)
        kinds = ["set"] if positive else ["set", "add", "scale", "zero"]
        if len(prompts) > 1:
            kinds.append("copy")
        kind = rng.choice(kinds)
        if not positive and rng.random() < 0.1:
            return Edit(point.name, "function")
        rows = range(1 if kind == "copy" else 0, len(prompts))
        chosen = tuple(rng.sample(rows, rng.randint(1, len(rows))))
        # A copy takes the same positions from row 0.
        shortest = min(len(prompts[row]) for row in (*chosen, *((0,) if kind == "copy" else ())))
        where: dict[str, tuple[int, ...]] = {}
        for number, axis in enumerate(point.axes):
            size = axis.size or shortest
            if axis.kind == POSITION:
                name, whole = "pos", kind != "copy"
            elif number == len(point.axes) - 1:
                name, whole = "feature", axis.kind != KEY_POSITION
            else:
                name, whole = "head", True
            if not whole or rng.random() < 0.5:
                where[name] = tuple(_some(rng, size))
        value: float | tuple[float, ...] = _number(rng, positive)
        if "feature" in where and rng.random() < 0.5:
            value = tuple(_number(rng, positive) for _ in where["feature"])
        return Edit(point.name, kind, chosen, **where, value=value)


def _matching(name: str, points: Sequence[HookPoint]) -> list[HookPoint]:
    pattern = glob_pattern(name)
    return [point for point in points if any(map(pattern.fullmatch, (point.name, *point.aliases)))]


def _some(rng: random.Random, size: int) -> list[int]:
    """Different indices of an axis, in no order."""
    return rng.sample(range(size), rng.randint(1, min(size, 6)))


def _number(rng: random.Random, positive: bool) -> float:
    return rng.randint(1 if positive else -16, 16) / 8
