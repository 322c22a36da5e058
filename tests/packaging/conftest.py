"""The two wheels, each made once a session."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.packaging.commands import run
from tests.parity.daemon import HOOKWIRED, ROOT


@pytest.fixture(scope="session")
def client_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by way of a source distribution, from a copy: building leaves files behind."""
    folder = tmp_path_factory.mktemp("client")
    source = folder / "python"
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist")
    shutil.copytree(ROOT / "client" / "python", source, ignore=leave)
    run(sys.executable, "-m", "build", "--no-isolation", "-o", folder, source, directory=folder)
    assert len(list(folder.glob("hookwire-*.tar.gz"))) == 1
    (made,) = folder.glob("hookwire-*.whl")
    return made


@pytest.fixture(scope="session")
def server_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made of the build that is tested."""
    folder = tmp_path_factory.mktemp("server")
    make = ROOT / "server" / "python" / "build_wheel.py"
    made = run(sys.executable, make, HOOKWIRED.parents[1], folder, directory=folder)
    return Path(made.strip())
