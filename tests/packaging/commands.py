"""Starts commands."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def run(*command: str | Path, directory: Path, **environment: str) -> str:
    """What the command prints; it must end with exit status 0."""
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
