"""Generates hookwire/_proto from proto/hookwire/v1, and checks that it is fresh.

    python client/python/generate.py           write the modules
    python client/python/generate.py --check   exit 1 where a committed module is out of date

The compiler is pinned, because a generated module refuses protobuf runtimes that are older than its
compiler: what this one writes loads under protobuf 6.31 and later, and under all of 7. It is
installed by itself, without dependencies, under build/, so that it disturbs no environment.

The imports between modules are made relative, so that the package stands alone: nothing named
`hookwire.v1` has to be importable.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from generate_models import bring_up_to_date

COMPILER = "grpcio-tools==1.76.0"
ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"
OUTPUT = Path(__file__).resolve().parent / "hookwire" / "_proto"
TOOLS = ROOT / "build" / COMPILER.replace("==", "-")


def compiler_environment() -> dict[str, str]:
    """The environment in which `python -m grpc_tools.protoc` is the pinned compiler."""
    if not (TOOLS / "grpc_tools").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--target", str(TOOLS), COMPILER], check=True)
    return {**os.environ, "PYTHONPATH": str(TOOLS)}


def generate() -> dict[str, str]:
    """The text of every module, by its file name."""
    sources = sorted((PROTO / "hookwire" / "v1").glob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}"]
        command += [f"--python_out={scratch}", f"--pyi_out={scratch}"]
        subprocess.run([*command, *map(str, sources)], check=True, env=compiler_environment())
        made = sorted((Path(scratch) / "hookwire" / "v1").iterdir())
        return {path.name: relative(path.read_text("utf-8")) for path in made}


def relative(text: str) -> str:
    """Turns imports of sibling modules into relative ones."""
    return re.sub(r"^from hookwire\.v1 import", "from . import", text, flags=re.MULTILINE)


if __name__ == "__main__":
    made = {OUTPUT / name: text for name, text in generate().items()}
    sys.exit(bring_up_to_date(made, "generated modules"))
