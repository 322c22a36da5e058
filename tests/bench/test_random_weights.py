"""Checkpoints that are written tensor by tensor are what `save_pretrained` would write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForImageTextToText

from bench import random_weights
from bench.baselines import Transformers
from bench.checkpoints import Checkpoint
from bench.published import A4B, DENSE, E2B

SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "vocab_size_per_layer_input": 64,
    "hidden_size": 32,
    "intermediate_size": 32,
    "head_dim": 8,
    "global_head_dim": 16,
    "num_attention_heads": 4,
}
KINDS = {
    "e2b": (E2B, {"hidden_size_per_layer_input": 8}),
    "26b": (
        A4B,
        {
            "num_key_value_heads": 2,
            "num_global_key_value_heads": 1,
            "num_experts": 8,
            "top_k_experts": 2,
            "moe_intermediate_size": 16,
        },
    ),
    "31b": (DENSE, {"num_key_value_heads": 2, "num_global_key_value_heads": 1}),
}
TOKENS = torch.tensor([[2, 5, 9, 33, 60, 7]])


@pytest.fixture(scope="module", params=KINDS)
def text(request: pytest.FixtureRequest) -> dict[str, Any]:
    checkpoint, kind = KINDS[request.param]
    assert checkpoint.text is not None
    return {**checkpoint.text, **SMALL, **kind}


@pytest.fixture(scope="module")
def written(text: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("random") / "checkpoint"
    random_weights.write(text, directory, torch.bfloat16)
    return directory


def test_transformers_would_save_the_same_files(written: Path, tmp_path: Path):
    model, info = AutoModelForImageTextToText.from_pretrained(
        written, dtype=torch.bfloat16, output_loading_info=True
    )
    assert not any(info.values())
    model.save_pretrained(tmp_path)
    for name in ("config.json", "generation_config.json"):
        assert json.loads((written / name).read_text()) == json.loads((tmp_path / name).read_text())
    assert (written / "model.safetensors").read_bytes() == (
        tmp_path / "model.safetensors"
    ).read_bytes()


def test_the_size_is_known_beforehand(text: dict[str, Any], written: Path):
    with safe_open(written / "model.safetensors", "pt") as file:
        assert random_weights.size(text, torch.bfloat16) == sum(
            file.get_tensor(name).nbytes for name in list(file.keys())
        )


def test_activations_are_finite_and_neither_grow_nor_fade(text: dict[str, Any], written: Path):
    layers = range(text["num_hidden_layers"])
    with torch.no_grad():
        outputs = Transformers(written).run(TOKENS, layers, "all")
    for name, values in outputs.items():
        assert 0.1 < values.square().mean().sqrt() < 100, name


def test_mapped_weights_give_the_same_bits(text: dict[str, Any], written: Path):
    layers = range(text["num_hidden_layers"])
    with torch.no_grad():
        mapped, loaded = (
            Transformers(written, torch.bfloat16, mapped=mapped).run(TOKENS, layers, "last")
            for mapped in (True, False)
        )
    assert mapped.keys() == loaded.keys()
    for name, values in loaded.items():
        assert torch.equal(mapped[name], values), name


def test_weights_are_mapped_in_their_own_dtype_only(written: Path):
    with pytest.raises(ValueError, match="not stored in"):
        Transformers(written, torch.float32, mapped=True)


def test_published_shapes_have_the_published_number_of_parameters():
    """Of the text model, in thousand millions; periods as often as the model has them."""

    def parameters(checkpoint: Checkpoint, periods: int) -> float:
        assert checkpoint.text is not None
        types = checkpoint.text["layer_types"] * periods
        text = {**checkpoint.text, "layer_types": types, "num_hidden_layers": len(types)}
        return random_weights.size(text, torch.bfloat16) / 2 / 1e9

    assert parameters(E2B, 1) == pytest.approx(4.63, abs=0.01)
    assert parameters(A4B, 5) == pytest.approx(25.2, abs=0.1)
    assert parameters(DENSE, 10) == pytest.approx(30.7, abs=0.1)
