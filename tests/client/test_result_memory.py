"""The memory of a result is used again by the next one."""

from __future__ import annotations

import subprocess
import sys

# Page faults of making, filling and freeing 400 arrays of 64 KiB, as a result has them.
FAULTS = """
import resource, sys
import numpy as np
from hookwire.answer import memory

if sys.argv[1] == "kept":
    memory.keep_freed()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(1 << 13) for _ in range(400)]
    del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(min(faults() for _ in range(5)))
"""


def test_freed_memory_is_not_cleared_again() -> None:
    def faults(how: str) -> int:
        command = [sys.executable, "-c", FAULTS, how]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    pages = 400 * (1 << 16) // 4096
    assert faults("kept") < pages / 20
    # What it is for.
    assert faults("by default") > pages / 2
