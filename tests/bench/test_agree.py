import pytest
import torch

from bench.agree import DisagreementError, require

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
