"""What the daemon says of a model, against PyTorch."""

from __future__ import annotations

from tests.parity.conftest import Served

TOWERS = ("model.vision_tower.", "model.audio_tower.", "model.embed_vision.", "model.embed_audio.")


def test_parameters_are_counted_as_pytorch_counts_them(exact_small: Served) -> None:
    """Those of the text path: tied ones once, buffers not."""
    model = exact_small.reference.model
    expected = sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if not name.startswith(TOWERS)
    )
    assert exact_small.model.cfg.n_params == expected
    if not any(name.startswith(TOWERS) for name, _ in model.named_parameters()):
        assert expected == sum(parameter.numel() for parameter in model.parameters())
