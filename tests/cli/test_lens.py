"""`lens`: compared with Transformers' own norm and unembedding."""

from __future__ import annotations

from pathlib import Path

import hookwire
import numpy as np
import pytest
import torch
from hookwire.api import lens
from hookwire.plot import extras
from transformers import Gemma4ForConditionalGeneration

from tests.cli.conftest import TOY, Command, invoke, is_png
from tests.cli.sentences import CLEAN
from tests.parity.daemon import hookwired


@pytest.fixture(scope="module")
def expected(server: str) -> torch.Tensor:
    """Logits [layer, pos, d_vocab] of every layer's output, computed by Transformers."""
    model = Gemma4ForConditionalGeneration.from_pretrained(TOY, attn_implementation="eager")
    seen: list[torch.Tensor] = []
    for layer in model.model.language_model.layers:
        layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with hookwire.connect(server, tensors="torch", quiet=True) as remote, torch.no_grad():
        model(input_ids=remote.to_tokens(CLEAN))
        outputs = torch.cat(seen)
        logits = model.lm_head(model.model.language_model.norm(outputs))
    cap = model.config.text_config.final_logit_softcapping
    return cap * torch.tanh(logits / cap)


def test_every_layer_is_as_transformers_computes_it(
    command: Command, expected: torch.Tensor
) -> None:
    told = command("--json", "lens", CLEAN).json
    best = expected.double().softmax(-1).max(-1)
    assert told["ids"] == best.indices.tolist()
    np.testing.assert_allclose(told["probabilities"], best.values.numpy(), rtol=1e-4, atol=1e-6)
    assert told["layers"] == list(range(6))
    assert told["words"][5][-1] == "Mary"
    assert told["receipt"]["numerics"] == "reference"


@pytest.mark.parametrize("numerics", ["fast", "reference"])
def test_the_last_layer_is_the_models_own_answer(numerics: str) -> None:
    with (
        hookwired(TOY, numerics=numerics, dtype="bfloat16", threads=1) as address,
        hookwire.connect(address, tensors="numpy", quiet=True) as model,
    ):
        told = invoke("--server", address, "--json", "lens", CLEAN).json
        assert told["ids"][-1] == model(CLEAN)[0].argmax(-1).tolist()


def test_the_way_through_the_final_norm_has_the_models_own_bits(
    model: hookwire.RemoteModel,
) -> None:
    logits, cache = model.run_with_cache(CLEAN, names_filter="blocks.5.hook_resid_post")
    tokens = model.to_tokens(CLEAN)[0].tolist()
    stream = cache["blocks.5.hook_resid_post"]
    again = model.run_with_hooks(**lens.unembedding(np.concatenate([stream, stream]), tokens))
    assert again[0].tobytes() == again[1].tobytes() == logits[0].tobytes()


def test_layers_and_positions_can_be_chosen(command: Command) -> None:
    whole = command("--json", "lens", CLEAN).json
    part = command("--json", "lens", CLEAN, "--layers", "-1,0:4:2", "--pos", "-1,3").json
    assert (part["layers"], part["positions"]) == ([5, 0, 2], [14, 3])
    want = [[whole["ids"][layer][pos] for pos in (14, 3)] for layer in (5, 0, 2)]
    assert part["ids"] == want


@pytest.mark.parametrize("cells", [1, 7, 20, 40])
def test_a_lens_that_is_too_large_for_one_run_is_divided(
    command: Command, monkeypatch: pytest.MonkeyPatch, cells: int
) -> None:
    whole = command("--json", "lens", CLEAN).json
    monkeypatch.setattr(lens, "_LOGITS_BYTES", cells * 59 * 4)
    divided = command("--json", "lens", CLEAN).json
    assert divided["ids"] == whole["ids"]
    np.testing.assert_allclose(divided["probabilities"], whole["probabilities"], rtol=1e-4)


def test_the_table(command: Command, terminal: Command) -> None:
    lines = command("lens", CLEAN).out.splitlines()
    assert lines[0].split() == ["0", "1", "2", "3", "4", "5"]
    assert len(lines) == 1 + 15
    assert lines[-1].split()[0] == "to"
    assert lines[-1].split()[-1] == "Mary"
    assert "\x1b[30;48;2;" in terminal("lens", CLEAN).out


def test_the_picture(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "lens.png"
    assert command("lens", CLEAN, "-o", str(path)).status == 0
    assert is_png(path)


def test_without_the_library_that_draws_nothing_runs(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "has", lambda library: False)
    told = command("lens", CLEAN, "-o", str(tmp_path / "lens.png"))
    assert (told.status, told.out) == (2, "")
    assert "pip install hookwire[plot]" in told.err
    assert told.err.count("\n") == 1
    assert command("lens", CLEAN).status == 0
