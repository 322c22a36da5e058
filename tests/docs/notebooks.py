"""Runs a notebook's cells, without Jupyter."""

from __future__ import annotations

import ast
import contextlib
import json
from pathlib import Path
from typing import Any

from tests.docs.pages import connected_to


def cells(notebook: Path) -> list[dict[str, Any]]:
    """Its cells, as the file has them."""
    content = json.loads(notebook.read_text())
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    found: list[dict[str, Any]] = content["cells"]
    return found


def run(notebook: Path, address: str, directory: Path) -> dict[str, Any]:
    """Runs all code cells; what each ends with is shown, as Jupyter shows it.

    Args:
        notebook: the file.
        address: of a daemon that serves the toy.
        directory: where it runs.

    Returns:
        What its variables are in the end.
    """
    scope: dict[str, Any] = {"__name__": "__main__"}
    with connected_to(address), contextlib.chdir(directory):
        for number, cell in enumerate(cells(notebook)):
            if cell["cell_type"] == "code":
                _run(ast.parse("".join(cell["source"])), f"{notebook.name}, cell {number}", scope)
    return scope


def _run(tree: ast.Module, name: str, scope: dict[str, Any]) -> None:
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
    exec(compile(tree, name, "exec"), scope)
    if last is not None:
        shown = eval(compile(last, name, "eval"), scope)
        show = getattr(shown, "_repr_mimebundle_", None)
        if show is not None:
            assert show()
