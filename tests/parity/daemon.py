"""Starts `hookwired` on a free port and stops it again."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Another build can be put to the test by naming its daemon in the environment.
HOOKWIRED = Path(os.environ.get("HOOKWIRED", ROOT / "build" / "release" / "bin" / "hookwired"))
START_SECONDS = 60
STOP_SECONDS = 20


def _first_line(process: subprocess.Popen[str]) -> str:
    """The line that says that the daemon is ready, or an empty one if it ended."""
    lines: queue.Queue[str] = queue.Queue()
    assert process.stdout is not None
    stdout = process.stdout
    threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
    return lines.get(timeout=START_SECONDS)


@contextlib.contextmanager
def hookwired(model: Path, *, numerics: str, dtype: str, threads: int) -> Iterator[str]:
    """A daemon that serves `model`; gives its address.

    Raises:
        AssertionError: it does not start, or does not end with exit status 0 on SIGTERM.
    """
    command = [
        str(HOOKWIRED), "--model", str(model), "--listen", "127.0.0.1:0", "--numerics", numerics,
        "--dtype", dtype, "--threads", str(threads), "--digest-cache", "",
    ]  # fmt: skip
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            line = _first_line(process)
            log.seek(0)
            address = re.search(r"[\w.\[\]:]+:\d+", line)
            assert address, f"hookwired did not start: {line!r}\n{log.read()}"
            yield address.group()
        finally:
            process.terminate()
            try:
                status = process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            assert process.stdout is not None
            process.stdout.close()
        log.seek(0)
        assert status == 0, f"hookwired ended with {status}:\n{log.read()}"
