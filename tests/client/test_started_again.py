"""Two daemons, one after the other at the same address, and a client that stays connected."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hookwire
import numpy as np
import pytest
from hookwire import aio
from safetensors.numpy import load_file, save_file

from tests.client.test_daemon import CLEAN, TOY, daemon
from tests.client.test_load import all_of

Calls = dict[str, Callable[[Any], Any]]
RUNS: Calls = {
    "run_with_cache": lambda model: model.run_with_cache(CLEAN, names_filter="blocks.*.hook_out"),
    "ids": lambda model: model([[2, 5, 7]]),
    "functions": lambda model: model.run_with_hooks(
        CLEAN, fwd_hooks=[("blocks.1.hook_out", lambda x, hook: x)]
    ),
    "loss": lambda model: model(CLEAN, return_type="loss"),
    "plan": lambda model: model.plan(CLEAN),
    "log_probs": lambda model: model.log_probs(CLEAN, "Mary"),
}
BLOCKING: Calls = {
    **RUNS,
    "stream": lambda model: list(model.stream(CLEAN, "blocks.*.hook_out")),
    "W_U": lambda model: model.W_U,
    "rows": lambda model: model.tokens_to_residual_directions([3, 4]),
    "to_tokens": lambda model: model.to_tokens(CLEAN),
    "hooks": lambda model: model.hook_names(),
}
ASYNCHRONOUS: Calls = {
    **RUNS,
    "stream": lambda model: all_of(model.stream(CLEAN, "blocks.*.hook_out")),
    "to_tokens": lambda model: model.to_tokens(CLEAN),
}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy after some training: the same shapes and tokenizer, another embedding."""
    directory = tmp_path_factory.mktemp("models") / "tuned"
    shutil.copytree(TOY, directory)
    (path,) = directory.glob("*.safetensors")
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("embed_tokens.weight"))
    tensors[name] = (tensors[name].astype(np.float32) * 1.5).astype(tensors[name].dtype)
    path.chmod(0o644)
    save_file(tensors, path, metadata={"format": "pt"})
    return directory


def at(address: str, model: Path = TOY) -> Any:
    return daemon("--model", str(model), "--listen", address, "--numerics", "reference")


def test_another_checkpoint_is_noticed_by_every_call(tuned: Path, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/hookwired"
    models = {}
    with at(address):
        for name in BLOCKING:
            models[name] = hookwire.connect(
                address, tensors="numpy", quiet=True, cache_weights=tmp_path / "weights"
            )
        reference = models["ids"]([[2, 5, 7]])
    with at(address, tuned):
        for name, call in BLOCKING.items():
            model = models[name]
            with pytest.raises(hookwire.LoadChangedError) as caught:
                call(model)
            metadata = caught.value.metadata
            assert metadata["model"] == "tuned", name
            assert metadata["expected"] == model._load_id != metadata["loaded"], name
            for said in ("checkpoint", "tuned", metadata["expected"], metadata["loaded"]):
                assert said in str(caught.value), name
            assert model.reconnect(), name
            call(model)
        with hookwire.connect(address, tensors="numpy", quiet=True) as fresh:
            want = fresh([[2, 5, 7]])
            assert not np.array_equal(want, reference)
            assert np.array_equal(models["ids"]([[2, 5, 7]]), want)
            assert np.array_equal(models["W_U"].W_U, fresh.W_U)
            # The digest may still be pending: the daemon computes it while it serves.
            assert replace(models["ids"].cfg, weights_digest="") == replace(
                fresh.cfg, weights_digest=""
            )
        for model in models.values():
            model.close()


async def test_another_checkpoint_is_noticed_by_asynchronous_calls(
    tuned: Path, tmp_path: Path
) -> None:
    address = f"unix:{tmp_path}/hookwired"
    models = {}
    with at(address):
        for name in ASYNCHRONOUS:
            models[name] = await aio.connect(address, tensors="numpy", quiet=True)
    with at(address, tuned):
        for name, call in ASYNCHRONOUS.items():
            with pytest.raises(hookwire.LoadChangedError, match="tuned"):
                await call(models[name])
            assert await models[name].reconnect(), name
            await call(models[name])
            await models[name].close()


def test_the_same_checkpoint_is_the_same_load(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/hookwired"
    with at(address):
        model = hookwire.connect(address, tensors="numpy", quiet=True)
        want = [call(model) for call in (RUNS["ids"], RUNS["functions"], RUNS["loss"])]
    with at(address), model:
        for call, before in zip((RUNS["ids"], RUNS["functions"], RUNS["loss"]), want, strict=True):
            assert np.array_equal(call(model), before)
        assert not model.reconnect()


def test_other_numerics_are_another_load(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/hookwired"
    with at(address):
        model = hookwire.connect(address, tensors="numpy", quiet=True)
    with daemon("--listen", address, "--numerics", "fast"), model:
        with pytest.raises(hookwire.LoadChangedError, match="other settings"):
            model(CLEAN)
        assert model.reconnect()
        assert model.server.numerics == "fast"


def test_the_load_of_a_daemon(tmp_path: Path) -> None:
    with at("127.0.0.1:0") as address, hookwire.connect(address, quiet=True) as model:
        assert len(bytes.fromhex(model._load_id)) == 16
