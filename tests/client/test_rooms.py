"""The rooms of the package: which may import which, and that no imports go in a circle."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import hookwire
import pytest

PACKAGE = Path(hookwire.__file__).parent

# As client/python/README.md has them; all may import what is in EVERYWHERE.
ROOMS = {
    "cli": "hookwire recipes api answer wire ask plot tab facts",
    "tab": "",
    "recipes": "api ask plot facts",
    "transformer_lens": "api wire ask facts",
    "api": "answer wire ask cache weights text facts",
    "answer": "wire ask facts",
    "wire": "ask facts",
    "ask": "facts",
    "cache": "weights facts",
    "weights": "facts",
    "text": "facts",
    "plot": "facts",
    "facts": "",
    "errors": "",
}
EVERYWHERE = {"errors", "forks", "_proto"}
# What users import stands at the top, and belongs to a room.
AT_THE_TOP = {"ops": "ask", "aio": "api", "patching": "recipes"}


def modules() -> dict[str, Path]:
    """Every module that is written by hand or from such a one, by its name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if "_proto" not in parts and name != "hookwire.__main__":
            found[name] = path
    return found


def imports(name: str, every: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that one imports, in functions too, but for types alone."""
    nodes: list[ast.AST] = [ast.parse(every[name].read_text("utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.split(".")[0] == "hookwire")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hookwire":
            for one in node.names:
                whole = f"{node.module}.{one.name}"
                is_module = whole in every or whole.startswith("hookwire._proto")
                yield whole if is_module else str(node.module)


def room(name: str) -> str:
    """The room that a module belongs to; "hookwire" for the package itself."""
    first = [*name.split("."), ""][1]
    return AT_THE_TOP.get(first, first or "hookwire")


def test_every_folder_is_a_room() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders - {"_proto"} == set(ROOMS)
    alone = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert alone == {*AT_THE_TOP, "forks"}


@pytest.mark.parametrize("own", sorted(ROOMS))
def test_a_room_imports_what_its_row_names(own: str) -> None:
    every = modules()
    wrong = [
        f"{name} imports {other}"
        for name in every
        if room(name) == own
        for other in imports(name, every)
        if room(other) not in {own, *ROOMS[own].split(), *EVERYWHERE}
    ]
    assert wrong == []


def test_the_rooms_go_in_no_circle() -> None:
    rows = {own: others.split() for own, others in ROOMS.items()}
    assert list(graphlib.TopologicalSorter(rows).static_order())


def test_modules_go_in_no_circle() -> None:
    every = modules()
    graph = {
        name: {
            other
            for other in imports(name, every)
            # A package imports its modules, and they may read what it has at the end.
            if other not in ("hookwire", name) and not name.startswith(f"{other}.")
        }
        for name in every
        if name != "hookwire"
    }
    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_the_readme_says_the_same() -> None:
    rows = (PACKAGE.parent / "README.md").read_text("utf-8").split("## The rooms")[1]
    told = {
        cells[1].strip(" `"): cells[3]
        for line in rows.splitlines()
        if line.startswith("| `") and len(cells := line.split("|")) > 3
    }
    assert list(told) == list(ROOMS)
    for own, others in ROOMS.items():
        assert set(told[own].split("`")[1::2]) == set(others.split()), own
