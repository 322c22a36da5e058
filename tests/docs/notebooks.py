"""Runs a notebook with a daemon of the tests."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from docs.run_notebook import ADDRESS, run_notebook
from tests.docs.pages import connected_to


def run(notebook: Path, address: str, directory: Path) -> dict[str, Any]:
    """What the variables of a notebook are in the end.

    Args:
        notebook: the file.
        address: of a daemon that serves the toy.
        directory: where it runs.
    """
    with connected_to(address), contextlib.chdir(directory):
        return run_notebook(notebook, ADDRESS)[1]
