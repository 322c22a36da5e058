"""How far answers are from the truth, pooled over many runs.

`tests/parity/tolerance.py` says how far `--numerics=fast` may be: the root mean square of its error
at most `FACTOR` times that of Transformers at the same place, the largest at most `OUTLIER` times;
where Transformers is nearly exact, what rounding to the dtype explains. Here a place is a hook
point of any layer, and its pool holds the answers of different runs, with changes that make tensors
large or small: each tensor's error counts in units of that tensor's own size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from tests.load.plans import Answer, Array

# As in tests/parity/tolerance.py, which needs torch; test_load.py sees that they are the same.
FACTOR, OUTLIER = 1.5, 4.0


@dataclass
class Pool:
    """The errors of a place.

    Attributes:
        squares: sum of the squares of all elements' errors, in root mean squares of their tensors.
        elements: how many.
        largest: the largest error of an element, in the largest elements of their tensors.
        where: the seed of the plan that has it.
    """

    squares: float = 0.0
    elements: int = 0
    largest: float = 0.0
    where: int = -1

    @property
    def rms(self) -> float:
        return float((self.squares / self.elements) ** 0.5) if self.elements else 0.0

    def add(self, other: Pool, times: int = 1) -> None:
        """Puts another pool into this one, as if its answers had come so often."""
        self.squares += times * other.squares
        self.elements += times * other.elements
        if other.largest >= self.largest:
            self.largest, self.where = other.largest, other.where


Pools = dict[tuple[str, str], Pool]
"""By place and dtype."""


def merge(into: Pools, pools: Pools, times: int = 1) -> None:
    """Adds every pool to the one of its place."""
    for place, pool in pools.items():
        into.setdefault(place, Pool()).add(pool, times)


def measure(seed: int, answer: Answer, truth: Answer) -> Pools:
    """The errors of one answer.

    Raises:
        AssertionError: it is not the answer of this plan: other names or shapes, other experts,
            something masked or not finite that should not be.
    """
    assert answer.keys() == truth.keys(), sorted(answer.keys() ^ truth.keys())
    pools: Pools = {}
    for name, tensor in answer.items():
        exact = truth[name]
        assert tensor.shape == exact.shape, (name, tensor.shape, exact.shape)
        if exact.dtype.kind == "i":
            assert np.array_equal(tensor, exact), f"{name}: not equal"
            continue
        # float64 holds what was computed in float32.
        dtype = "float32" if tensor.dtype == np.float64 else tensor.dtype.name
        place = re.sub(r"^blocks\.\d+\.", "", name), dtype
        merge(pools, {place: _errors(seed, name, tensor.astype(np.float64), exact)})
    return pools


def _errors(seed: int, name: str, tensor: Array, exact: Array) -> Pool:
    masked = np.isneginf(exact)
    assert np.array_equal(np.isneginf(tensor), masked), f"{name}: masked elsewhere"
    tensor, exact = tensor[~masked], exact[~masked]
    assert np.isfinite(tensor).all(), f"{name}: not finite"
    difference = np.abs(tensor - exact)
    size = float(np.sqrt(np.square(exact).mean())) if exact.size else 0.0
    if size == 0:  # zeroed, or padding
        assert not difference.any(), f"{name}: not zero"
        return Pool()
    most = float(np.abs(exact).max())
    return Pool(
        float(np.square(difference / size).sum()),
        difference.size,
        float(difference.max()) / most,
        seed,
    )


def too_far(ours: Pools, reference: Pools) -> list[str]:
    """What `ours` are farther from the truth with than the tolerance allows."""
    wrong = []
    for (name, dtype), pool in sorted(ours.items()):
        eps = float(ml_dtypes.finfo(dtype).eps)
        theirs = reference[name, dtype]
        rms = FACTOR * max(theirs.rms, eps / 4)
        largest = OUTLIER * max(theirs.largest, eps)
        if not pool.rms <= rms:
            wrong.append(f"{name} as {dtype}: rms error {pool.rms:.3g}, allowed {rms:.3g}")
        if not pool.largest <= largest:
            wrong.append(
                f"{name} as {dtype}: largest error {pool.largest:.3g} (plan {pool.where}), "
                f"allowed {largest:.3g}"
            )
    return wrong
