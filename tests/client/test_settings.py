"""What users set on a client's objects: it holds wherever the model goes, or it raises."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hookwire
import numpy as np
import pytest
from hookwire import aio, errors

from tests.client.test_daemon import daemon
from tests.client.test_started_again import at, tuned  # noqa: F401 - a fixture


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with daemon() as address:
        yield address


@pytest.fixture
def model(address: str) -> Iterator[hookwire.RemoteModel]:
    with hookwire.connect(address, tensors="torch", quiet=True) as model:
        yield model


def through_pickle(model: Any) -> Any:
    return pickle.loads(pickle.dumps(model))


def reconnected(model: Any) -> Any:
    assert not model.reconnect()
    return model


@pytest.mark.parametrize("moved", [through_pickle, copy.deepcopy, reconnected])
def test_the_tokenizers_settings_go_with_the_model(
    model: hookwire.RemoteModel, moved: Callable[[Any], Any]
) -> None:
    assert model.to_tokens("Mary").tolist() == [[2, 4]]
    model.tokenizer.default_prepend_bos = False
    model.tokenizer.padding_side = "right"
    model.tokenizer.pad_token = model.tokenizer.eos_token
    other = moved(model)
    assert other.to_tokens("Mary").tolist() == [[4]]
    assert other.tokenizer.padding_side == "right"
    assert other.tokenizer.pad_token_id == other.tokenizer.eos_token_id
    assert other("Mary John").shape[1] == 2
    assert through_pickle(other).to_tokens("Mary").tolist() == [[4]]


async def test_they_go_with_an_asynchronous_model(address: str) -> None:
    model = await aio.connect(address, tensors="numpy", quiet=True)
    (await model.tokenizer()).default_prepend_bos = False
    other = through_pickle(model)
    assert (await other.to_tokens("Mary")).tolist() == [[4]]
    await model.close()
    await other.close()


def test_another_load_has_its_own_special_tokens(tuned: Path, tmp_path: Path) -> None:  # noqa: F811
    address = f"unix:{tmp_path}/hookwired"
    with at(address):
        model = hookwire.connect(address, tensors="numpy", quiet=True)
        pad = model.tokenizer.pad_token
        model.tokenizer.default_prepend_bos = False
        model.tokenizer.pad_token = model.tokenizer.eos_token
    with at(address, tuned), model:
        assert model.reconnect()
        assert model.to_tokens("Mary").tolist() == [[4]]
        assert model.tokenizer.pad_token == pad


def test_the_configuration_cannot_be_set(model: hookwire.RemoteModel) -> None:
    for name in ("use_attn_result", "n_layers", "dtype_name"):
        with pytest.raises(errors.ReadOnlyConfigError, match=rf"cfg\.{name} cannot be set"):
            setattr(model.cfg, name, 3)
    with pytest.raises(errors.NoAttributeError, match="no attribute 'n_layer'; did you mean"):
        model.cfg.n_layer = 3  # type: ignore[attr-defined]
    assert copy.deepcopy(model.cfg) == model.cfg


@pytest.mark.parametrize("device", ["bogus", "cuda:99", 3.5])
def test_a_device_is_checked_before_the_run(model: hookwire.RemoteModel, device: Any) -> None:
    with pytest.raises(hookwire.HookwireError, match="device: tensors cannot go to"):
        # A filter that the run would refuse.
        model.run_with_cache("Mary", names_filter="no_such_hook", device=device)
    _, cache = model.run_with_cache("Mary", names_filter="hook_embed", device="cpu")
    with pytest.raises(hookwire.HookwireError, match="device: tensors cannot go to"):
        cache.to(device)


def test_a_timeout_of_centuries_is_none(model: hookwire.RemoteModel) -> None:
    assert model("Mary", timeout=1e10).shape[1] == 2
    assert model("Mary", timeout=float("inf")).shape[1] == 2


def test_layers_and_weights_that_are_not_there(model: hookwire.RemoteModel) -> None:
    with pytest.raises(errors.LayerOutOfRangeError, match=r"W_Q\[9\]: this model has layers 0 to"):
        model.W_Q[9]
    layers: Any = model.W_Q
    with pytest.raises(errors.ArgumentTypeError, match="a layer is a number or a slice"):
        layers["a"]
    weights: Any = model.weights
    with pytest.raises(errors.ArgumentTypeError, match="asked for by name"):
        weights[3]


def test_weights_are_not_listed(model: hookwire.RemoteModel) -> None:
    weights: Any = model.weights
    for listed in (list, lambda all_of_them: "typo" in all_of_them):
        with pytest.raises(errors.UnsupportedError, match="has no list of the parameters"):
            listed(weights)


def test_decompositions_that_there_are_not(model: hookwire.RemoteModel) -> None:
    _, cache = model.run_with_cache("Mary John")
    wrong: Any = "x"
    with pytest.raises(errors.ArgumentError, match='mode must be "all", "mlp" or "attn", not'):
        cache.decompose_resid(3, mode=wrong)
    for method in (cache.decompose_resid, cache.accumulated_resid, cache.stack_head_results):
        method(np.int64(3))
        with pytest.raises(errors.LayerOutOfRangeError, match=r"layer 99 is not in \[0, 6\]"):
            method(99)
        with pytest.raises(errors.ArgumentTypeError, match="layer must be a number or None"):
            method(wrong)


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy])
def test_what_fetches_is_not_copied(
    model: hookwire.RemoteModel, copied: Callable[[Any], Any]
) -> None:
    for lazy in (model.weights, model.W_Q):
        with pytest.raises(hookwire.HookwireError, match="pickle the model, or one tensor"):
            copied(lazy)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:73324",  # modulo 65536, gRPC's reading of it, this is another server
        "127.0.0.1:99999999999",
        "ipv4:127.0.0.1:73324",
        "http://127.0.0.1:7431",
        "127.0.0.1",
        ":7431",
        " 127.0.0.1:7431",
        "127.0.0.1 :7431",
        "local host:7431",
        "unix:",
        3,
        None,
    ],
)
def test_what_is_no_address(address: Any) -> None:
    with pytest.raises(hookwire.HookwireError, match="an address is"):
        hookwire.connect(address, timeout=0.1)
