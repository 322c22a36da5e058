"""Where the bench keeps what it makes once, and whether this machine has room for it."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

GIB = 2**30


def _cache() -> Path:
    own = os.environ.get("HOOKWIRE_BENCH_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hookwire" / "bench"


CACHE = _cache()
"""`$HOOKWIRE_BENCH_CACHE`, or `hookwire/bench` in the user's cache directory."""


class LeftOutError(Exception):
    """A row cannot be measured on this machine; the message says why."""


def require_disk(needed: int, what: str, directory: Path = CACHE) -> None:
    """Whether so many bytes can be written.

    Raises:
        LeftOutError: the file system would have less than 2 GiB left.
    """
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free
    if free < needed + 2 * GIB:
        raise LeftOutError(
            f"{what} takes {needed / GIB:.1f} GiB of disk, and {free / GIB:.1f} GiB are free"
        )


def require_memory(needed: int, what: str, meminfo: Path = Path("/proc/meminfo")) -> None:
    """Whether so many bytes of memory can be had; pages of files count, which can be dropped.

    Raises:
        LeftOutError: they cannot.
    """
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo.read_text(), re.MULTILINE)
    available = int(found.group(1)) * 1024 if found else 0
    if available < needed:
        raise LeftOutError(
            f"{what} takes {needed / GIB:.1f} GiB of memory, and {available / GIB:.1f} GiB are "
            "available"
        )
