"""How far `--numerics=fast` may be from the truth: no farther than 1.5 times Transformers itself.

The truth is the oracle, the direct computation in the next wider dtype (float64 for float32,
float32 for bfloat16). For one hook point, or the logits, the error is the root mean square of the
distance to the oracle over all elements of all prompts of a test, and it may be `FACTOR` times that
of Transformers at the same place. Where Transformers is (nearly) exact a ratio means nothing, so
its error counts as no less than what rounding to the dtype alone explains: a quarter of a unit in
the last place at the tensor's root mean square (rounding within ±½ ulp has a root mean square of
0.29 ulp, and an ulp is between half and all of eps × value).

One wrong element among ten thousand right ones hardly moves a root mean square, so the largest
error is held too: to `OUTLIER` times Transformers' largest. This is a guard and not the tolerance.
The largest error stands in the one row that a norm amplifies most and is there the outcome of a
few roundings: of two computations that are equally good, one is easily twice the other, while an
element that is wrong is off by its own size, thousands of times as much.

Masked attention scores must be −inf on both sides and are left out. Experts are chosen by
comparing shares, and a near tie may fall out either way: each side is held against an oracle that
uses that side's choice, and `assert_choice_is_defensible` checks the choice by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FACTOR = 1.5
OUTLIER = 4.0


@dataclass(frozen=True)
class Error:
    """Distance from the oracle over a pool of tensors."""

    rms: float
    largest: float


def _pool(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.double().flatten() for tensor in tensors])


def error_of(values: Sequence[Tensor], oracle: Sequence[Tensor]) -> Error:
    """The error of `values`; both pools must be −inf at the same places, and else finite."""
    ours, truth = _pool(values), _pool(oracle)
    assert torch.equal(torch.isneginf(ours), torch.isneginf(truth)), "masked elsewhere"
    finite = ~torch.isneginf(truth)
    difference = (ours - truth)[finite].abs()
    assert torch.isfinite(difference).all(), "not finite"
    return Error(difference.pow(2).mean().sqrt().item(), difference.max().item())


def floor_of(oracle: Sequence[Tensor], dtype: torch.dtype) -> Error:
    """The error that one rounding to `dtype` explains."""
    truth = _pool(oracle)
    truth = truth[torch.isfinite(truth)]
    eps = torch.finfo(dtype).eps
    return Error(eps / 4 * truth.pow(2).mean().sqrt().item(), eps * truth.abs().max().item())


def assert_within(
    name: str,
    values: Sequence[Tensor],
    reference: Sequence[Tensor],
    oracle: Sequence[Tensor],
    reference_oracle: Sequence[Tensor] | None = None,
) -> None:
    """Asserts that `values` are as near to the oracle as the tolerance wants.

    Args:
        name: of the hook point, for the message.
        values: one tensor a prompt, of the implementation under test.
        reference: Transformers' own.
        oracle: of the wider dtype.
        reference_oracle: where the reference made other choices than `values`: its own oracle.
    """
    assert [v.shape for v in values] == [r.shape for r in reference], name
    assert values[0].dtype == reference[0].dtype, (name, values[0].dtype, reference[0].dtype)
    ours = error_of(values, oracle)
    theirs = error_of(reference, reference_oracle or oracle)
    floor = floor_of(oracle, reference[0].dtype)
    rms = FACTOR * max(theirs.rms, floor.rms)
    largest = OUTLIER * max(theirs.largest, floor.largest)
    assert ours.rms <= rms, f"{name}: rms error {ours.rms:.3g}, allowed {rms:.3g} ({theirs})"
    assert ours.largest <= largest, (
        f"{name}: largest error {ours.largest:.3g}, allowed {largest:.3g} ({theirs})"
    )


def assert_choice_is_defensible(
    name: str, chosen: Tensor, shares: Tensor, dtype: torch.dtype
) -> None:
    """Asserts that no expert was taken, or left, against a clear difference in the shares.

    Args:
        name: of the hook point, for the message.
        chosen: `[pos, k]`, the experts that were taken.
        shares: `[pos, expert]`, the oracle's probabilities.
        dtype: the compute dtype; shares within 64 of its eps, relative, count as a tie.
    """
    taken = torch.zeros_like(shares, dtype=torch.bool).scatter(-1, chosen, value=True)
    assert (taken.sum(-1) == chosen.shape[-1]).all(), f"{name}: an expert is chosen twice"
    worst_taken = shares.masked_fill(~taken, torch.inf).amin(-1)
    best_left = shares.masked_fill(taken, -torch.inf).amax(-1)
    margin = 64 * torch.finfo(dtype).eps
    assert (worst_taken >= best_left * (1 - margin)).all(), f"{name}: a clearly worse expert"
