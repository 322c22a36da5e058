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
# In bfloat16 two right computations differ by about what either of them rounds, which grows with
# depth: there is no one number for it. So the error of ours against float32 is held to that of the
# baseline, as in the parity tests: its root mean square to 1.5 times, and the largest, which is the
# outcome of a few roundings, to 4 times. No error counts as less than what a single rounding
# explains: a quarter of a unit in the last place.
FACTOR = 1.5
OUTLIER = 4.0
_ROUNDING = torch.finfo(torch.bfloat16).eps / 4


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
    _require_same_names(ours, theirs)
    for name, expected in theirs.items():
        _require_close(name, ours[name], expected)


def require_rounded(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], exact: Mapping[str, Tensor]
) -> None:
    """Compares outputs that were computed in bfloat16.

    Args:
        ours: what Hookwire returned.
        theirs: the same outputs of a baseline.
        exact: the same without rounding, in float32.

    Raises:
        DisagreementError: other names, shapes, dtypes, or errors of more than `FACTOR` times (root
            mean square) or `OUTLIER` times (the largest) those of the baseline.
    """
    _require_same_names(ours, theirs)
    _require_same_names(theirs, exact)
    for name, expected in exact.items():
        if not expected.is_floating_point():
            _require_close(name, ours[name], theirs[name])
            continue
        _require_same_kind(name, ours[name], theirs[name])
        _require_as_close(name, ours[name], theirs[name], expected.double())


def _require_same_names(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    if one.keys() != other.keys():
        raise DisagreementError(f"only one side returns {sorted(one.keys() ^ other.keys())[:5]}")


def _require_as_close(name: str, ours: Tensor, theirs: Tensor, exact: Tensor) -> None:
    size, most = exact.square().mean().sqrt(), exact.abs().max()
    errors = [(side.double() - exact).abs() for side in (ours, theirs)]
    rms, their_rms = (error.square().mean().sqrt() for error in errors)
    largest, their_largest = (error.max() for error in errors)
    # A NaN on either side makes neither comparison true.
    if not (
        rms <= FACTOR * their_rms.clamp(min=_ROUNDING * size)
        and largest <= OUTLIER * their_largest.clamp(min=_ROUNDING * most)
    ):
        raise DisagreementError(
            f"{name}: {largest:.3g} (rms {rms:.3g}) from float32, the baseline "
            f"{their_largest:.3g} (rms {their_rms:.3g}), where values reach {most:.3g}"
        )


def _require_same_kind(name: str, ours: Tensor, theirs: Tensor) -> None:
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        raise DisagreementError(
            f"{name}: {list(ours.shape)} {ours.dtype} against {list(theirs.shape)} {theirs.dtype}"
        )


def _require_close(name: str, ours: Tensor, theirs: Tensor) -> None:
    _require_same_kind(name, ours, theirs)
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
