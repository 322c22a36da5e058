import pytest
import torch

from bench.agree import DisagreementError, require, require_rounded

VALUES = torch.linspace(-1, 1, 1000)


def test_rounding_is_no_disagreement():
    require({"x": VALUES * (1 + 1e-6)}, {"x": VALUES})


def changed(index: int, value: float) -> torch.Tensor:
    values = VALUES.clone()
    values[index] = value
    return values


@pytest.mark.parametrize(
    "ours",
    [
        VALUES + 1e-3,
        changed(3, -0.99),
        changed(3, float("nan")),
        torch.zeros(1000),
        VALUES[:-1],
        VALUES.double(),
    ],
    ids=["shifted", "one element", "NaN", "zeros", "shape", "dtype"],
)
def test_wrong_values_are(ours: torch.Tensor):
    with pytest.raises(DisagreementError, match="x"):
        require({"x": ours}, {"x": VALUES})


def test_integers_must_be_equal():
    require({"x": torch.arange(5)}, {"x": torch.arange(5)})
    with pytest.raises(DisagreementError, match="not equal"):
        require({"x": torch.arange(5)}, {"x": torch.arange(1, 6)})


def test_a_missing_output_is_named():
    with pytest.raises(DisagreementError, match="logits"):
        require({"x": VALUES}, {"x": VALUES, "logits": VALUES})


EXACT = torch.randn(1000, generator=torch.Generator().manual_seed(0))
THEIRS = (EXACT + 0.02 * EXACT.roll(1)).bfloat16()


def rounded(ours: torch.Tensor) -> None:
    require_rounded({"x": ours}, {"x": THEIRS}, {"x": EXACT})


def test_in_bfloat16_another_error_of_the_same_size_is_no_disagreement():
    rounded((EXACT - 0.02 * EXACT.roll(7)).bfloat16())


@pytest.mark.parametrize(
    "ours",
    [
        (EXACT + 0.04 * EXACT.roll(1)).bfloat16(),
        THEIRS.index_fill(0, torch.tensor([3]), 9.0),
        THEIRS.index_fill(0, torch.tensor([3]), float("nan")),
        THEIRS.roll(1),
        THEIRS[:-1],
        THEIRS.float(),
    ],
    ids=["twice the error", "one element", "NaN", "shifted", "shape", "dtype"],
)
def test_in_bfloat16_a_larger_error_is(ours: torch.Tensor):
    with pytest.raises(DisagreementError, match="x"):
        rounded(ours)


def test_in_bfloat16_a_single_rounding_is_none_where_the_baseline_has_no_error():
    exact = torch.linspace(1, 2, 1000)
    exactly = {"x": exact.bfloat16().float()}
    require_rounded({"x": exact.bfloat16()}, {"x": exact.bfloat16()}, exactly)
    with pytest.raises(DisagreementError):
        require_rounded({"x": (exact * 1.01).bfloat16()}, {"x": exact.bfloat16()}, exactly)
