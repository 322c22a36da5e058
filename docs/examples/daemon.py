"""Runs hookwired for as long as a `with` block lasts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUILT = Path(__file__).resolve().parents[2] / "build" / "release" / "bin" / "hookwired"
# Another daemon can be named in the environment.
BINARY = Path(os.environ.get("HOOKWIRED", BUILT))


@contextmanager
def daemon(checkpoint: Path, *options: str) -> Iterator[str]:
    """Starts hookwired on a free port of this machine, and ends it with SIGTERM.

    Args:
        checkpoint: a directory as `save_pretrained` writes it.
        options: further flags, such as "--numerics", "reference".

    Yields:
        The address to connect to.
    """
    if not BINARY.exists():
        sys.exit(f"There is no {BINARY}: ./run daemon makes it.")
    command = [BINARY, "--model", checkpoint, "--listen", "127.0.0.1:0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            ready = process.stdout.readline() if process.stdout else ""
            address = re.search(r"\S+:\d+", ready)
            if address is None:
                sys.exit(f"hookwired did not start: exit status {process.wait()}")
            yield address.group()
        finally:
            process.terminate()
