"""Runs a notebook's cells in this process, without Jupyter."""

from __future__ import annotations

import ast
import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What the notebooks connect to: the daemon's default.
ADDRESS = "127.0.0.1:7431"


@dataclass(frozen=True)
class Ran:
    """A cell that has run.

    Attributes:
        is_code: whether it is code; otherwise it is Markdown.
        source: its text.
        printed: what it has written to standard output; empty for Markdown.
        shown: what its last expression shows, by MIME type; empty where there is nothing to show.
    """

    is_code: bool
    source: str
    printed: str
    shown: dict[str, Any]


def run_notebook(notebook: Path, address: str) -> tuple[list[Ran], dict[str, Any]]:
    """Runs all cells, top to bottom.

    Args:
        notebook: the file.
        address: of a daemon that serves the toy; it takes the place of `ADDRESS` in the code.

    Returns:
        The cells; and the notebook's variables, as they are in the end.
    """
    scope: dict[str, Any] = {"__name__": "__main__"}
    ran = []
    for number, cell in enumerate(json.loads(notebook.read_text())["cells"]):
        source = "".join(cell["source"])
        printed = ""
        shown: dict[str, Any] = {}
        if cell["cell_type"] == "code":
            code = source.replace(ADDRESS, address)
            printed, shown = _run(code, f"{notebook.name}, cell {number}", scope)
        ran.append(Ran(cell["cell_type"] == "code", source, printed, shown))
    return ran, scope


def _run(code: str, name: str, scope: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Runs a cell. Returns what it prints, and what its last expression shows."""
    tree = ast.parse(code)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
    printed = io.StringIO()
    shown: dict[str, Any] = {}
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, name, "exec"), scope)
        if last is not None:
            shown = _shown(eval(compile(last, name, "eval"), scope))
    return printed.getvalue(), shown


def _shown(value: Any) -> dict[str, Any]:
    """What Jupyter shows of a value, by MIME type."""
    if value is None:
        return {}
    if hasattr(value, "_repr_mimebundle_"):
        bundle: dict[str, Any] = value._repr_mimebundle_()
        return bundle
    bundle = {"text/plain": repr(value)}
    if hasattr(value, "_repr_html_"):
        bundle["text/html"] = value._repr_html_()
    return bundle
