"""`hookwire hooks`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich.text import Text
from rich.tree import Tree

from hookwire.cli import points
from hookwire.cli.completion import complete_hooks
from hookwire.cli.settings import Settings, subcommand
from hookwire.facts.catalogue import HookPoint
from hookwire.recipes.points import find

_EXAMPLES = """
hookwire hooks                         everything
hookwire hooks pattern                 every name with "pattern" in it
hookwire hooks 'blocks.5.attn.*'
hookwire hooks | grep rw               what can be written
"""


@subcommand("hooks", examples=_EXAMPLES)
@click.argument(
    "filter_",
    metavar="[FILTER]",
    default="**",
    callback=points.not_empty,
    shell_complete=complete_hooks,
)
@click.option("--each", is_flag=True, help="Show each layer, even if several are equal.")
def command(settings: Settings, filter_: str, each: bool) -> None:
    """Show where the model can be read and changed.

    FILTER is a name, an alias, a glob, TransformerLens's short name, or a part of a name. Shapes
    are those of one prompt, without the batch. Equal layers share a branch of the tree. In a pipe,
    each hook point has a line of its own.
    """
    output = settings.output()
    with settings.connect() as model:
        found = list(find(model, filter_, parts=True).values())
        name = model.cfg.model_name
    if output.json:
        output.document({"hooks": [_described(point) for point in found]})
    elif output.is_terminal:
        output.tree(_tree(name, found, each))
        output.line(f"{len(found)} hook points", style="dim")
    else:
        output.table(
            ["name", "shape", "dtype", "access", "aliases"],
            [
                [
                    point.name,
                    _shape(point),
                    point.dtype,
                    "rw" if point.writable else "r-",
                    " ".join(point.aliases),
                ]
                for point in found
            ],
        )


def _described(point: HookPoint) -> dict[str, Any]:
    return {
        "name": point.name,
        "aliases": list(point.aliases),
        "layer": point.layer,
        "shape": list(point.shape[1:]),
        "axes": [axis.name for axis in point.axes],
        "dtype": point.dtype,
        "writable": point.writable,
        "read_only_reason": point.read_only_reason,
        "module": point.module,
    }


def _shape(point: HookPoint) -> str:
    return f"[{', '.join(map(str, point.shape[1:]))}]"


def _tree(title: str, points: Sequence[HookPoint], each: bool) -> Tree:
    """Names taken apart at their dots. Layers with the same hook points are one branch."""
    tree = Tree(Text(title, style="bold"), guide_style="dim")
    branches: dict[tuple[str, ...], Tree] = {}
    shown: set[int] = set()
    for point in points:
        prefix = ""
        if point.layer is not None and point.name.startswith("blocks."):
            prefix = f"blocks.{point.layer}."
            if point.layer not in shown:
                alike = [point.layer] if each else _alike(points, point.layer)
                shown.update(alike)
                branches[prefix,] = tree.add(Text(_blocks(alike), style="bold"))
            if (prefix,) not in branches:
                continue
        _add(branches.get((prefix,), tree), branches, prefix, point)
    return tree


def _add(root: Tree, branches: dict[tuple[str, ...], Tree], prefix: str, point: HookPoint) -> None:
    *path, leaf = point.name.removeprefix(prefix).split(".")
    branch = root
    for depth in range(len(path)):
        key = (prefix, *path[: depth + 1])
        if key not in branches:
            branches[key] = branch.add(Text(path[depth], style="cyan"))
        branch = branches[key]
    dtype = "" if point.dtype in ("float32", "bfloat16", "float16") else f" {point.dtype}"
    names = "".join(f" · {alias.removeprefix(prefix)}" for alias in point.aliases)
    branch.add(
        Text.assemble(
            leaf,
            (f"  {_shape(point)}{dtype}", "green"),
            (names, "dim"),
            ("" if point.writable else "  read only", "yellow"),
        )
    )


def _alike(points: Iterable[HookPoint], layer: int) -> list[int]:
    """The layers whose hook points have the same names, shapes and access as this one's."""
    signatures: dict[int, list[Any]] = {}
    for point in points:
        if point.layer is not None:
            prefix = f"blocks.{point.layer}."
            names = [name.removeprefix(prefix) for name in (point.name, *point.aliases)]
            signatures.setdefault(point.layer, []).append(
                (names, point.shape, point.dtype, point.writable)
            )
    return [other for other, signature in signatures.items() if signature == signatures[layer]]


def _blocks(numbers: Sequence[int]) -> str:
    """A name for layers that are alike, such as blocks.{0, 1, 3–5}."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    if len(numbers) == 1:
        return f"blocks.{numbers[0]}"
    ranges = [f"{p[0]}–{p[-1]}" if len(p) > 2 else ", ".join(map(str, p)) for p in parts]
    return f"blocks.{{{', '.join(ranges)}}}"
