"""Whether two sides return the same outputs. Nothing is timed before they do."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# Both sides compute in float32, in another order. After the dozen layers of `mid`, whose random
# weights make more of an error than trained ones, one position's logits lie up to 9e-5 of their
# size from those in float64, on either side, and up to 1.3e-4 from each other. A wrong computation
# differs by about the size itself.
RMS = 3e-4
LARGEST = 1e-3


class DisagreementError(Exception):
    """Two sides return different outputs: their speeds mean nothing."""


def require(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    """Compares outputs by name.

    Args:
        ours: what Hookwire returned.
        theirs: the same outputs of a baseline.

    Raises:
        DisagreementError: other names, shapes, dtypes, or values that differ by more than `RMS`
            (root mean square) or `LARGEST` of the baseline's largest element.
    """
    if ours.keys() != theirs.keys():
        raise DisagreementError(f"only one side returns {sorted(ours.keys() ^ theirs.keys())[:5]}")
    for name, expected in theirs.items():
        _require_close(name, ours[name], expected)


def _require_close(name: str, ours: Tensor, theirs: Tensor) -> None:
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        raise DisagreementError(
            f"{name}: {list(ours.shape)} {ours.dtype} against {list(theirs.shape)} {theirs.dtype}"
        )
    if not theirs.is_floating_point():
        if not torch.equal(ours, theirs):
            raise DisagreementError(f"{name}: not equal")
        return
    difference, expected = (ours - theirs).double(), theirs.double()
    # A NaN on either side makes neither comparison true.
    rms, size = difference.square().mean().sqrt(), expected.square().mean().sqrt()
    largest, most = difference.abs().max(), expected.abs().max()
    if not (rms <= RMS * size and largest <= LARGEST * most):
        raise DisagreementError(
            f"{name}: differs by {largest:.3g} (rms {rms:.3g}) where values reach {most:.3g}"
        )
