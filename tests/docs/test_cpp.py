"""The C++ page's program compiles, and prints what the page shows."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.docs.blocks import blocks, same
from tests.parity.daemon import ROOT

BUILD = ROOT / "build" / "release"


def test_the_program_prints_what_the_page_shows(toy: str, tmp_path: Path) -> None:
    program = next(b for b in blocks(ROOT / "docs" / "cpp.md") if b.language == "cpp")
    source, binary = tmp_path / "program.cc", tmp_path / "program"
    source.write_text(program.code)
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "grpc++", "protobuf"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    command = [
        "g++", "-std=c++20", "-Wall", "-Werror",
        f"-I{ROOT}/client/cpp/include", f"-I{BUILD}/proto", str(source),
        f"{BUILD}/client/cpp/libhookwire_client.a", f"{BUILD}/proto/libhookwire_proto.a",
        *flags, "-o", str(binary),
    ]  # fmt: skip
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    ran = subprocess.run([binary, toy], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert program.output is not None
    assert same(program.output, ran.stdout), ran.stdout
