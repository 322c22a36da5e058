"""Starts `hookwired` on a free port and stops it again."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Another build can be put to the test by naming its daemon in the environment.
HOOKWIRED = Path(os.environ.get("HOOKWIRED", ROOT / "build" / "release" / "bin" / "hookwired"))
# So can another device (tests/gpu).
DEVICE = os.environ.get("HOOKWIRE_DEVICE", "cpu")
# A device that every machine has (tests/fake_device).
FAKE_DEVICE = ROOT / "build" / "release" / "lib" / "libhookwire_fake_device.so"
START_SECONDS = 60
STOP_SECONDS = 20


@dataclass(frozen=True)
class Started:
    """A daemon that runs.

    Attributes:
        pid: its process.
        address: where it listens, "host:port".
        log_file: what it writes to stderr.
    """

    pid: int
    address: str
    log_file: Path


@contextlib.contextmanager
def started(
    model: Path,
    *arguments: str,
    device: str = DEVICE,
    stop_seconds: float = STOP_SECONDS,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Started]:
    """A daemon that serves `model`, on a free port of this host.

    Args:
        model: a checkpoint's directory.
        arguments: more flags.
        device: where it computes; one or more, as `--device` takes them.
        stop_seconds: how long it may take to end.
        environment: more variables.

    Raises:
        AssertionError: it does not start, or does not end with exit status 0 on SIGTERM.
    """
    command = [
        str(HOOKWIRED), "--model", str(model), "--listen", "127.0.0.1:0", "--device", device,
        *arguments,
    ]  # fmt: skip
    variables = {**os.environ, **(environment or {})}
    if device.startswith("fake"):
        variables["LD_PRELOAD"] = str(FAKE_DEVICE)
    with tempfile.NamedTemporaryFile("w") as file:
        log = Path(file.name)
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=file, text=True, env=variables
        )
        assert process.stdout is not None
        try:
            ready = select.select([process.stdout], [], [], START_SECONDS)[0]
            line = process.stdout.readline() if ready else ""
            assert line, f"hookwired did not start:\n{log.read_text()}"
            yield Started(process.pid, line.split()[-1], log)
        finally:
            process.terminate()
            try:
                status = process.wait(stop_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
            finally:
                process.stdout.close()
        assert status == 0, f"hookwired ended with {status}:\n{log.read_text()}"


@contextlib.contextmanager
def hookwired(
    model: Path, *, numerics: str, dtype: str, threads: int, device: str = DEVICE
) -> Iterator[str]:
    """A daemon that serves `model`; gives its address.

    Raises:
        AssertionError: as `started` does.
    """
    arguments = [
        "--numerics", numerics, "--dtype", dtype, "--threads", str(threads), "--digest-cache", "",
    ]  # fmt: skip
    with started(model, *arguments, device=device) as daemon:
        yield daemon.address
