"""What the figures were taken on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path

PACKAGES = ("torch", "transformers", "transformer-lens", "grpcio", "safetensors", "numpy")


def describe(threads: int) -> dict[str, str]:
    """The machine and the versions that matter, by what they are."""
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = _first(r"^model name.*: (.*)$", cpu)
    flags = set(_first(r"^flags\s*: (.*)$", cpu).split())
    wide = [
        name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "sha_ni") if name in flags
    ]
    memory = Path("/proc/meminfo").read_text() if Path("/proc/meminfo").exists() else ""
    kilobytes = _first(r"^MemTotal:\s+(\d+) kB$", memory)
    return {
        "CPU": f"{model or platform.processor()} ({', '.join(wide)})",
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(kilobytes) / 2**20:.0f} GiB" if kilobytes else "unknown",
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "Python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "threads": f"{threads} on either side",
        "load": f"{os.getloadavg()[0]:.1f} when the run began",
    }


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found.group(1) if found else ""
