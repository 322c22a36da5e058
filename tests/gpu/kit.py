"""Makes the folder with which tests/gpu/run.sh works where there is no compiler and no network.

    python -m tests.gpu.kit WHEEL OUT

WHEEL is the daemon's; `./run wheel --kit` calls it. The folder has the wheels of daemon and client,
those of requirements/gpu.txt for Python 3.12, and the tests with what they read.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("tests/gpu", "tests/parity", "bench", "toy", "pyproject.toml")
PYTHON = "3.12"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
MAX_MIB = 64


def pip_download(folder: Path) -> None:
    platforms = [argument for name in PLATFORMS for argument in ("--platform", name)]
    requirements = ROOT / "requirements"
    subprocess.run(
        [
            sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:",
            "--python-version", PYTHON, *platforms, "-d", folder,
            "-r", requirements / "gpu.txt", "-c", requirements / "constraints.txt",
        ],
        check=True,
    )  # fmt: skip


def build_client(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "python"
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist")
        shutil.copytree(ROOT / "client" / "python", source, ignore=ignore)
        build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
        subprocess.run([*build, source], check=True)


def make(wheel: Path, out: Path) -> int:
    """Makes the folder, in place of one that is there; the bytes of its files.

    Raises:
        SystemExit: it has more than MAX_MIB.
    """
    shutil.rmtree(out, ignore_errors=True)
    wheels = out / "wheels"
    wheels.mkdir(parents=True)
    shutil.copy(wheel, wheels)
    build_client(wheels)
    pip_download(wheels)
    listed = subprocess.run(
        ["git", "ls-files", "--", *TESTS], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    for file in listed.splitlines():
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, out / file)
    size = sum(path.stat().st_size for path in out.rglob("*"))
    if size > MAX_MIB * 2**20:
        sys.exit(f"{out} has {size / 2**20:.1f} MiB, more than {MAX_MIB}")
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    size = make(arguments.wheel, arguments.out)
    print(f"{arguments.out}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
