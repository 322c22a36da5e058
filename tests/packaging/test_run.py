"""`./run` on a bare machine: which steps it takes, and what each command installs and compiles.

The tools that it starts are replaced by a script that notes how it was called.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.parity.daemon import HOOKWIRED, ROOT

TOOLS = ("apt-get", "cmake", "dpkg-query", "ninja", "python3", "sudo")
TOOL = """#!/bin/bash
tool=${0##*/}
[[ $tool == sudo ]] && exec "$@"
[[ $tool == dpkg-query ]] && { [[ -e installed-${@: -1} ]] && echo 'install ok installed'; exit; }
target=built-$([[ ${@: -1} == bin/hookwired ]] && echo hookwired || echo all)
[[ " $* " == *" -n "* ]] && { [[ -e $target ]] && echo 'no work to do'; exit; }
echo "$tool $*" >>calls
case $tool in
  apt-get) for package in "$@"; do touch "installed-$package"; done ;;
  cmake) mkdir -p build/release ;;
  ninja) touch "$target" ;;
  python3) mkdir -p .venv/bin && cp "$0" .venv/bin/python && cp "$0" .venv/bin/pip ;;
esac
"""


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The files that `./run` reads, on a machine that has nothing yet."""
    for file in ("run", "requirements", "CMakePresets.json", "client/python/pyproject.toml"):
        target = tmp_path / file
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / file).is_dir() else shutil.copy)(ROOT / file, target)
    (tmp_path / "tools").mkdir()
    for tool in TOOLS:
        (tmp_path / "tools" / tool).write_text(TOOL)
        (tmp_path / "tools" / tool).chmod(0o755)
    return tmp_path


def run(bare: Path, *command: str) -> list[str]:
    """The lines that it prints."""
    path = f"{bare / 'tools'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["./run", *command], cwd=bare, env={**os.environ, "PATH": path}, text=True, check=True,
        capture_output=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def calls(bare: Path) -> list[str]:
    """The calls of tools since the last time."""
    noted = (bare / "calls").read_text().splitlines() if (bare / "calls").exists() else []
    (bare / "calls").unlink(missing_ok=True)
    return noted


def packages(list_name: str) -> list[str]:
    return (ROOT / "requirements" / list_name).read_text().split()


def test_the_steps_of_the_demo_are_listed_and_nothing_is_done(bare: Path) -> None:
    before = sorted(bare.rglob("*"))
    assert run(bare, "steps", "demo") == [
        "read the list of distribution packages",
        f"install {len(packages('debian.txt'))} distribution packages",
        "make .venv",
        "install the Python packages of the demo (torch is large)",
        "install the Python client",
        "configure",
        "compile hookwired",
    ]
    assert sorted(bare.rglob("*")) == before


def test_the_daemon_needs_no_test_and_no_reference(bare: Path) -> None:
    printed = run(bare, "daemon")
    assert [line for line in printed if "…" in line][-1] == "   … step 7 of 7: compile hookwired"
    called = calls(bare)
    assert called[-2:] == [
        "cmake --preset release -DHOOKWIRE_BUILD_TESTS=OFF",
        "ninja -C build/release bin/hookwired",
    ]
    (install,) = [call for call in called if call.startswith("apt-get install")]
    assert not set(packages("debian-test.txt")) & set(install.split())
    installed = " ".join(call for call in called if " pip install" in call)
    assert "requirements/demo.txt" in installed
    assert not any(f"{name}.txt" in installed for name in ("reference", "test", "docs"))


def test_the_tests_take_the_rest(bare: Path) -> None:
    run(bare, "daemon")
    calls(bare)
    rest = run(bare, "steps", "test")
    assert rest == [
        "read the list of distribution packages",
        f"install {len(packages('debian-test.txt'))} distribution packages",
        "install the Python packages of tests and documentation",
        "configure",
        "compile hookwired and the tests",
    ]
    run(bare, "build")
    assert calls(bare)[-2:] == [
        "cmake --preset release -DHOOKWIRE_BUILD_TESTS=ON",
        "ninja -C build/release",
    ]


def test_what_has_been_done_is_not_done_again(bare: Path) -> None:
    run(bare, "build")
    calls(bare)
    run(bare, "build")
    assert run(bare, "steps", "build") == []
    run(bare, "daemon")  # keeps the tests: another configuration would compile much again
    assert calls(bare) == ["ninja -C build/release bin/hookwired"]


def test_the_target_of_the_demo_compiles_no_test() -> None:
    build = HOOKWIRED.parents[1]
    inputs = subprocess.run(
        ["ninja", "-C", build, "-t", "inputs", "bin/hookwired"], capture_output=True, text=True,
        check=True,
    ).stdout.split()  # fmt: skip
    folders = {Path(path).relative_to(ROOT).parts[0] for path in inputs if path.endswith(".cc")}
    assert {"model", "server"} <= folders
    assert any(path.endswith("server/launcher.cc") for path in inputs)
    assert not folders & {"tests", "bench", "client"}
