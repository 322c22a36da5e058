"""`run`: what it captures is what the package captures, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hookwire
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from tests.cli.conftest import TOY, Command, invoke
from tests.cli.sentences import CLEAN
from tests.parity.daemon import hookwired


def metadata(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="np") as opened:
        return {name: json.loads(text) for name, text in opened.metadata().items()}


def test_the_file_has_the_bits_of_run_with_cache(
    command: Command, model: hookwire.RemoteModel, tmp_path: Path
) -> None:
    path = tmp_path / "acts.safetensors"
    told = command("--json", "run", CLEAN, "-c", "**", "--logits", "all", "-o", str(path)).json
    logits, cache = model.run_with_cache(CLEAN)
    saved = load_file(path)
    assert set(saved) == {*model.hook_names(aliases=False), "logits"}
    assert saved["logits"].tobytes() == logits.tobytes()
    for name, tensor in saved.items():
        want = logits if name == "logits" else cache[name]
        assert tensor.dtype == want.dtype, name
        assert tensor.shape == want.shape, name
        assert tensor.tobytes() == want.tobytes(), name
    kept = metadata(path)
    assert kept["receipt"] == told["receipt"]
    assert kept["receipt"]["weights_digest"] == model.cfg.weights_digest
    assert kept["receipt"]["numerics"] == "reference"
    assert kept["names"]["blocks.2.attn.o.hook_in"][:2] == [
        "blocks.2.attn.o.hook_in",
        "blocks.2.attn.hook_z",
    ]
    assert kept["tokens"]["ids"] == model.to_tokens(CLEAN)[0].tolist()


def test_a_glob_of_aliases_keeps_the_aliases(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "z.safetensors"
    command("run", CLEAN, "-c", "blocks.*.attn.hook_z", "--pos", "-1", "-o", str(path))
    saved = load_file(path)
    assert list(saved) == [f"blocks.{layer}.attn.hook_z" for layer in range(6)]
    assert saved["blocks.2.attn.hook_z"].shape == (1, 1, 4, 32)


def test_bfloat16_is_kept_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "acts.safetensors"
    with hookwired(TOY, numerics="reference", dtype="bfloat16", threads=1) as address:
        told = invoke("--server", address, "run", CLEAN, "-c", "blocks.5.hook_out", "-o", str(path))
        assert told.status == 0, told.err
        with hookwire.connect(address, tensors="torch", quiet=True) as model:
            _, cache = model.run_with_cache(CLEAN, names_filter="blocks.5.hook_out")
    with safe_open(path, framework="pt") as opened:
        saved = opened.get_tensor("blocks.5.hook_out")
    assert saved.dtype == torch.bfloat16
    assert torch.equal(saved, cache["blocks.5.hook_out"])


def test_the_next_words_are_those_of_the_logits(
    command: Command, model: hookwire.RemoteModel
) -> None:
    told = command("--json", "run", CLEAN).json
    shares = torch.from_numpy(model(CLEAN)[0, -1]).double().softmax(-1)
    best = shares.topk(5)
    assert [one["id"] for one in told["next"]] == best.indices.tolist()
    np.testing.assert_allclose([one["probability"] for one in told["next"]], best.values)
    assert told["next"][0]["word"] == "Mary"
    assert told["tensors"] == []
    assert "next: Mary 9" in command("run", CLEAN).out


def test_tensors_are_listed_with_what_is_in_them(
    command: Command, model: hookwire.RemoteModel
) -> None:
    told = command("--json", "run", CLEAN, "-c", "blocks.3.hook_out").json["tensors"][0]
    _, cache = model.run_with_cache(CLEAN, names_filter="blocks.3.hook_out")
    want = cache["blocks.3.hook_out"].astype(np.float64)
    assert told["name"] == "blocks.3.hook_out"
    assert told["shape"] == [1, 15, 64]
    assert told["bytes"] == 15 * 64 * 4
    assert told["mean"] == pytest.approx(want.mean())
    assert told["rms"] == pytest.approx(np.sqrt((want**2).mean()))
    assert (told["min"], told["max"]) == (want.min(), want.max())
    assert "blocks.3.hook_out" in command("run", CLEAN, "-c", "blocks.3.hook_out").out


def test_masked_scores_are_left_out_of_the_numbers(command: Command) -> None:
    told = command("--json", "run", CLEAN, "-c", "blocks.3.attn.hook_attn_scores").json
    assert np.isfinite(told["tensors"][0]["min"])


def test_token_ids_and_standard_input(command: Command, model: hookwire.RemoteModel) -> None:
    ids = model.to_tokens(CLEAN)[0].tolist()
    want = command("--json", "run", CLEAN).json["next"]
    assert command("--json", "run", "--ids", ",".join(map(str, ids))).json["next"] == want
    assert command("--json", "run", "-", stdin=CLEAN + "\n").json["next"] == want
    without = command("--json", "run", "--no-bos", CLEAN).json
    assert without["prompt"]["ids"] == ids[1:]


def test_a_pass_that_ends_early(command: Command) -> None:
    told = command(
        "--json", "run", CLEAN, "-c", "blocks.*.hook_out", "--stop-at-layer", "2", "--pos", "0,-1"
    ).json
    assert [tensor["name"] for tensor in told["tensors"]] == [
        "blocks.0.hook_out",
        "blocks.1.hook_out",
        "residual",
    ]
    assert told["tensors"][0]["shape"] == [1, 2, 64]
    assert told["tensors"][2]["shape"] == [1, 15, 64]
    assert told["next"] == []
    assert told["receipt"]["n_layers_run"] == 2


def test_another_dtype_on_the_wire(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    command("run", CLEAN, "-c", "blocks.3.hook_out", "--dtype", "float16", "-o", str(path))
    assert load_file(path)["blocks.3.hook_out"].dtype == np.float16


def test_a_run_that_is_refused_leaves_no_file(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "acts.safetensors"
    told = command("run", CLEAN, "-c", "blocks.1.hook_resid_prae", "-o", str(path))
    assert told.status == 2
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_an_error_before_the_run(
    command: Command, tmp_path: Path
) -> None:
    told = command("run", CLEAN, "-c", "hook_embed", "-o", str(tmp_path / "no" / "x.safetensors"))
    assert (told.status, told.out) == (2, "")
    assert "there is no folder" in told.err
