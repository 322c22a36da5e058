"""The memory of results."""

from __future__ import annotations

import functools

import numpy as np

# Just below what glibc still takes as a sign (DEFAULT_MMAP_THRESHOLD_MAX).
_LARGE_BYTES = (32 << 20) - (64 << 10)


@functools.cache
def keep_freed() -> None:
    """Has the process keep some tens of megabytes of freed memory for the next arrays.

    A result has hundreds of arrays, which are freed together. By default glibc then returns their
    memory to the system, which has to clear every page again for the next result: that takes longer
    than copying the result. glibc stops doing so below twice the size of the largest block that the
    program has ever mapped and freed (mallopt(3), M_MMAP_THRESHOLD), as programs with large arrays
    do by themselves. So this makes and frees one such block, and never touches it. Elsewhere it has
    no effect.
    """
    np.empty(_LARGE_BYTES, np.uint8)
