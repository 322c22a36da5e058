"""A `hookwired` of one's own, and a client of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import hookwire
import torch

from bench.cache import CACHE
from bench.process import BINARIES, Server, running

DIGEST_SECONDS = 120


@dataclass(frozen=True)
class Daemon:
    """A daemon and a model that is connected to it."""

    server: Server
    model: hookwire.RemoteModel


def command(
    checkpoint: Path, threads: int, numerics: str = "fast", dtype: torch.dtype = torch.float32
) -> list[str | Path]:
    """How it is started: on a free port."""
    return [
        BINARIES / "hookwired",
        *("--model", checkpoint, "--listen", "127.0.0.1:0"),
        *("--threads", str(threads), "--numerics", numerics),
        *("--dtype", str(dtype).removeprefix("torch.")),
        *("--log-level", "warn", "--digest-cache", str(CACHE / "digests")),
    ]


@contextmanager
def daemon(
    checkpoint: Path,
    threads: int,
    *,
    numerics: str = "fast",
    dtype: torch.dtype = torch.float32,
    shared_memory: bool = True,
) -> Iterator[Daemon]:
    """Serves a checkpoint. Given once the daemon has nothing else left to do.

    Args:
        checkpoint: its directory.
        threads: compute threads.
        numerics: as the daemon takes them.
        dtype: to compute in.
        shared_memory: as in `hookwire.connect`.
    """
    with running(command(checkpoint, threads, numerics, dtype)) as server:
        _wait_for_digest(server.address)
        with hookwire.connect(server.address, quiet=True, shared_memory=shared_memory) as model:
            yield Daemon(server, model)


def _wait_for_digest(address: str) -> None:
    """Waits until the digest of the weights is there, which is computed beside the first runs."""
    deadline = time.monotonic() + DIGEST_SECONDS
    while time.monotonic() < deadline:
        with hookwire.connect(address, quiet=True) as model:
            if model.cfg.weights_digest != "pending":
                return
        time.sleep(0.2)
    raise RuntimeError(f"no digest of the weights after {DIGEST_SECONDS} s")
