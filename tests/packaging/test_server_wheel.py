"""The daemon's wheel, in an empty environment on a root without the libraries that it brings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
import torch

from tests.packaging.commands import run
from tests.parity.daemon import HOOKWIRED, ROOT

RELEASE = ".".join(torch.__version__.split(".")[:2])
OF_TORCH = {"libtorch_cpu.so", "libc10.so", "libgomp.so.1"}
OF_EVERY_LINUX = {
    "ld-linux-x86-64.so.2", "libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6",
    "libpthread.so.0", "librt.so.1", "libstdc++.so.6", "libutil.so.1", "libz.so.1",
}  # fmt: skip
# Python itself may need these.
OPENSSL = {"libcrypto.so.3", "libssl.so.3"}

# Runs $COMMAND on a root that is this machine's without the files from $3 on. What is changed there
# is changed in memory only, but for the folders $1 and $2, which are the machine's own.
WITHOUT = r"""
set -euo pipefail
main=$1 folder=$2
shift 2
base=/mnt
mount -t tmpfs tmpfs "$base" && mkdir "$base"/{upper,work,root}
mount -t overlay overlay -o lowerdir=/,upperdir="$base/upper",workdir="$base/work" "$base/root"
for each in /proc /dev "$main" "$folder"; do
  mkdir -p "$base/root$each" && mount --rbind "$each" "$base/root$each"
done
for library in "$@"; do rm "$base/root$library"; done
exec chroot "$base/root" bash -c "$COMMAND"
"""


@pytest.fixture(scope="module")
def environment(
    tmp_path_factory: pytest.TempPathFactory, client_wheel: Path, server_wheel: Path
) -> Path:
    """Has the two wheels. torch, and what else they and the demo need, is in a folder of packages
    elsewhere, as on a machine whose own torch is used.
    """
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "env", directory=folder)
    (packages,) = (folder / "env").glob("lib/python3*/site-packages")
    (packages / "elsewhere.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(
        folder / "env" / "bin" / "python", "-m", "pip", "install", "--no-compile", "--no-index",
        "--no-deps", "--disable-pip-version-check", "--ignore-installed", client_wheel,
        server_wheel, directory=folder,
    )  # fmt: skip
    return folder / "env"


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as opened:
        (name,) = [each for each in opened.namelist() if each.endswith(".dist-info/METADATA")]
        return message_from_bytes(opened.read(name))


def test_it_says_which_torch_it_needs(server_wheel: Path) -> None:
    assert metadata(server_wheel)["Version"].endswith(f"+torch{RELEASE}")
    assert metadata(server_wheel).get_all("Requires-Dist") == [f"torch=={RELEASE}.*"]
    assert re.search(r"-py3-none-manylinux_2_\d+_x86_64\.whl$", server_wheel.name)


def test_every_library_is_in_it_or_torchs_or_on_every_linux(
    server_wheel: Path, tmp_path: Path
) -> None:
    zipfile.ZipFile(server_wheel).extractall(tmp_path)
    own = {path.name for path in tmp_path.glob("hookwire_server.libs/*")}
    programs = [*tmp_path.glob("hookwire_server.libs/*"), *tmp_path.glob("*/*/hookwired")]
    needed = set[str]()
    for path in programs:
        told = run("readelf", "-d", path, directory=tmp_path)
        needed |= set(re.findall(r"\(NEEDED\).*\[(.+)\]", told))
        searched = re.findall(r"\(R(?:UN)?PATH\).*\[(.+)\]", told)
        assert all(each.startswith("$ORIGIN") for each in searched), path
    assert needed >= OF_TORCH
    assert needed <= own | OF_TORCH | OF_EVERY_LINUX
    licences = {path.stem for path in tmp_path.glob("*.dist-info/licenses/licenses/*.txt")}
    assert {"libgrpc29", "libprotobuf32", "libabsl20220623", "libssl3"} <= licences


@pytest.fixture(scope="module")
def libraries() -> list[str]:
    """Those of the distribution that the daemon loads and not every machine has, as files."""
    told = run("ldd", HOOKWIRED.parents[1] / "libexec" / "hookwired", directory=ROOT)
    loaded = dict(re.findall(r"(\S+) => (/\S+)", told))
    ours = loaded.keys() - OF_TORCH - OF_EVERY_LINUX - OPENSSL
    return [loaded[name] for name in ours if "site-packages" not in loaded[name]]


def without(libraries: list[str], folder: Path, command: str, **environment: str) -> str:
    """What the command prints on a root without the libraries, in the root of the repository."""
    owner = [] if os.geteuid() == 0 else ["--map-root-user"]
    return run(
        "unshare", "--mount", *owner, "bash", "-c", WITHOUT, "bash", ROOT, folder, *libraries,
        directory=ROOT, COMMAND=f"cd {ROOT} && {command}", **environment,
    )  # fmt: skip


def test_the_demo_runs_where_the_libraries_are_not(environment: Path, libraries: list[str]) -> None:
    built = HOOKWIRED.parents[1] / "libexec" / "hookwired"
    missing = re.compile(r"error while loading shared libraries: lib(grpc|absl|protobuf|spdlog)")
    assert missing.search(without(libraries, environment, f"{built} --version 2>&1 || true"))
    demo = f"bin/python {ROOT}/docs/examples/demo.py --out patching.png"
    told = without(
        libraries, environment, f"cd {environment} && {demo}",
        HOOKWIRED=str(environment / "bin" / "hookwired"),
    )  # fmt: skip
    assert "Both daemons have stopped." in told
    assert (environment / "patching.png").stat().st_size > 10_000


def test_the_client_finds_it(environment: Path, libraries: list[str]) -> None:
    """Beside the interpreter: nothing names it, and it is not on the PATH."""
    serve = (
        "import hookwire\n"
        "with hookwire.serve('toy/checkpoint', quiet=True) as model:\n"
        "    print(hookwire.__file__, model.cfg.n_layers)"
    )
    command = f'unset HOOKWIRED; {environment}/bin/python -c "$SERVE"'
    (client,) = environment.glob("lib/*/site-packages/hookwire/__init__.py")
    assert without(libraries, environment, command, SERVE=serve).split() == [str(client), "6"]


def refusal(command: list[str | Path], **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_another_torch_is_an_error(environment: Path, tmp_path: Path) -> None:
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('it is not imported')")
    daemon = environment / "bin" / "hookwired"
    for version in ("9.9.0+cu130", RELEASE + "9.0"):
        (package / "version.py").write_text(f"__version__ = '{version}'\n")
        said = refusal([daemon, "--version"], PYTHONPATH=str(tmp_path))
        assert f"+torch{RELEASE} needs torch {RELEASE}, but {package} is {version}." in said
        assert f"pip install 'torch=={RELEASE}.*'" in said
    (package / "version.py").write_text(f"__version__ = '{RELEASE}.0'\n")
    said = refusal([daemon, "--version"], PYTHONPATH=str(tmp_path))
    assert f"{package} has no lib/libtorch_cpu.so" in said


def test_no_torch_is_an_error(environment: Path) -> None:
    (packages,) = environment.glob("lib/python3*/site-packages")
    command = [environment / "bin" / "python", "-S", "-m", "hookwire_server"]
    said = refusal(command, PYTHONPATH=str(packages))
    assert f"needs torch {RELEASE}, but {environment / 'bin' / 'python'} has none." in said
