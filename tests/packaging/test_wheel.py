"""The wheel, in an empty environment with the dependencies that it declares and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.commands import run
from tests.parity.daemon import ROOT, hookwired

SMOKE = Path(__file__).with_name("smoke.py")
OLDEST = (3, 10)


def _version(python: str | Path) -> tuple[int, int] | None:
    """Its version; None where it does not run: pyenv puts commands on the path that may not."""
    ask = "import ensurepip, sys; print(*sys.version_info[:2])"
    done = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
    major, minor = map(int, done.stdout.split()) if done.returncode == 0 else (0, 0)
    return (major, minor) if (major, minor) >= OLDEST else None


def _pythons() -> dict[str, Path]:
    """The oldest and the newest Python at hand that the package supports, and this one."""
    candidates = [shutil.which(f"python3.{minor}") for minor in range(OLDEST[1], 20)]
    found: dict[tuple[int, int], Path] = {}
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=True)
        candidates += map(str, Path(root.stdout.strip()).glob("versions/*/bin/python"))
    for candidate in candidates:
        if candidate and (version := _version(candidate)):
            found[version] = Path(candidate)
    found[sys.version_info[:2]] = Path(sys.executable)
    return {
        f"{major}.{minor}": found[major, minor]
        for major, minor in sorted({min(found), max(found), sys.version_info[:2]})
    }


PYTHONS = _pythons()
THIS = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(scope="module")
def toy() -> Iterator[str]:
    checkpoint = ROOT / "toy" / "checkpoint"
    with hookwired(checkpoint, numerics="fast", dtype="float32", threads=1) as address:
        yield address


def test_it_holds_the_package_and_nothing_else(client_wheel: Path) -> None:
    names = zipfile.ZipFile(client_wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"hookwire"}
    sources = ROOT / "client" / "python" / "hookwire"
    wanted = {path.relative_to(sources.parent).as_posix() for path in sources.rglob("*.py*")}
    wanted = {name for name in wanted if "__pycache__" not in name}
    wanted.add("hookwire/py.typed")
    assert {name for name in names if not name.startswith("hookwire-")} == wanted


@pytest.mark.parametrize("version", PYTHONS)
def test_it_works_where_nothing_else_is_installed(
    version: str, client_wheel: Path, toy: str, tmp_path: Path
) -> None:
    run(PYTHONS[version], "-m", "venv", "env", directory=tmp_path)
    inside = tmp_path / "env" / "bin" / "python"
    # Pinned versions are those of this Python; another one takes what the wheel's bounds allow.
    pins = ("-c", ROOT / "requirements" / "constraints.txt") if version == THIS else ()
    run(
        inside, "-m", "pip", "install", "--no-compile", "--disable-pip-version-check",
        *pins, client_wheel, directory=tmp_path,
    )  # fmt: skip
    run(inside, "-I", SMOKE, toy, directory=tmp_path)
