"""The command `hookwired`: starts the daemon of this package on the torch of this Python.

The daemon uses the libtorch of an installed torch wheel, of the release that it was built with.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent


class TorchError(Exception):
    """This Python has no torch with which the daemon runs."""


def libtorch(release: str) -> Path:
    """The folder of libtorch in the torch that this Python would import.

    Args:
        release: which one it must be, such as "2.11"; a patch release of it will do.

    Raises:
        TorchError: there is no torch, another release, or one without libtorch in its folder.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise TorchError(f"{sys.executable} has none")
    folder = Path(spec.origin).parent
    version = re.search(r"^__version__ = '(.+)'", (folder / "version.py").read_text(), re.MULTILINE)
    if version is None or version[1].split(".")[:2] != release.split("."):
        raise TorchError(f"{folder} is {version[1] if version else 'of an unknown version'}")
    if not (folder / "lib" / "libtorch_cpu.so").exists():
        raise TorchError(f"{folder} has no lib/libtorch_cpu.so, so it was not installed by pip")
    return folder / "lib"


def main() -> None:
    """Becomes the daemon, with the arguments of this process.

    Exit status 2, and one line on stderr, where this Python has not the torch that it needs.
    """
    release = ".".join(json.loads((HERE / "build.json").read_text())["torch"].split(".")[:2])
    try:
        libraries = libtorch(release)
    except TorchError as error:
        version = metadata.version("hookwire-server")
        print(
            f"hookwired: hookwire-server {version} needs torch {release}, but {error}. Install"
            f" torch {release} (pip install 'torch=={release}.*'), or the hookwire-server for"
            " another torch",
            file=sys.stderr,
        )
        sys.exit(2)
    # torch may be in another folder of packages than the daemon, so its place is known only now.
    paths = [str(libraries), os.environ.get("LD_LIBRARY_PATH")]
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, paths))
    program = str(HERE / "bin" / "hookwired")
    os.execv(program, [program, *sys.argv[1:]])
