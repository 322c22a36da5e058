"""One rule says under which names a cache has a tensor, and it outlives the process."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hookwire
import numpy as np
import pytest
import torch
from hookwire import aio

from tests.client.fake_server import FakeServer
from tests.client.test_daemon import CLEAN, SHORT, daemon

TOKENS = [[3, 1, 4]]
# Each a filter, what the cache then iterates over, and keys that are and are not in it.
RULE: list[tuple[Any, list[str], list[Any], list[Any]]] = [
    (
        "blocks.*.hook_out",
        [f"blocks.{layer}.hook_out" for layer in range(3)],
        ["blocks.1.hook_out", "blocks.1.hook_resid_post", ("resid_post", 1), ("resid_post", -1)],
        ["blocks.1.hook_in", ("resid_pre", 1), ("resid_post", 3), ("resid_post", -4), "nothing"],
    ),
    (
        "blocks.*.hook_resid_post",
        [f"blocks.{layer}.hook_resid_post" for layer in range(3)],
        ["blocks.2.hook_out", "blocks.2.hook_resid_post", ("resid_post", 2)],
        ["blocks.2.hook_in", "blocks.3.hook_out", "embed", ("embed",)],
    ),
    (
        ["hook_embed"],
        ["embed.hook_out", "hook_embed"],
        ["embed", ("embed",), "hook_embed", "embed.hook_out"],
        ["unembed", "blocks.0.hook_in"],
    ),
]


@pytest.mark.parametrize(("names_filter", "names", "present", "absent"), RULE)
@pytest.mark.parametrize("again", [lambda x: x, copy.copy, copy.deepcopy, pickle.loads])
def test_in_index_and_get_follow_one_rule(
    model: hookwire.RemoteModel,
    names_filter: Any,
    names: list[str],
    present: list[Any],
    absent: list[Any],
    again: Callable[[Any], Any],
) -> None:
    _, cache = model.run_with_cache(TOKENS, names_filter=names_filter)
    cache = again(pickle.dumps(cache) if again is pickle.loads else cache)
    for key in [*present, *names]:
        assert key in cache
        assert key in cache.keys()  # noqa: SIM118 - it has an `in` of its own
        assert cache.get(key) is cache[key]
    for key in absent:
        assert key not in cache
        assert key not in cache.keys()  # noqa: SIM118
        assert cache.get(key) is None
        with pytest.raises(hookwire.HookNotFoundError):
            cache[key]
    assert list(cache) == list(cache.keys()) == [name for name, _ in cache.items()] == names
    assert len(cache) == len(cache.keys()) == len(cache.values()) == len(names)
    for (name, tensor), value in zip(cache.items(), cache.values(), strict=True):
        assert tensor is value is cache[name] is cache.cache_dict[name]


@pytest.mark.parametrize("key", [3, None, (), (3,), ("q", "3"), ("q", 1.5), ("q", 1, 2)])
def test_what_is_no_key_is_refused_everywhere(model: hookwire.RemoteModel, key: Any) -> None:
    _, cache = model.run_with_cache(TOKENS)
    for ask in (cache.__getitem__, cache.get, cache.__contains__):
        with pytest.raises(TypeError) as caught:
            ask(key)
        assert isinstance(caught.value, hookwire.HookwireError)


def test_a_hook_point_that_a_layer_lacks_says_why(
    model: hookwire.RemoteModel, server: FakeServer
) -> None:
    _, cache = model.run_with_cache(TOKENS)
    for key in ("blocks.2.attn.hook_k", ("k", 2)):
        with pytest.raises(hookwire.AbsentHookError, match="layer 2 reuses the keys of layer 1"):
            cache[key]
        with pytest.raises(KeyError):
            through_pickle(cache)[key]
        asked = server.calls.count("plan")
        assert key not in cache
        assert cache.get(key) is None
        assert server.calls.count("plan") == asked


def test_an_empty_name_is_called_so(model: hookwire.RemoteModel) -> None:
    _, cache = model.run_with_cache(TOKENS)
    for key in ("", " ", ("", 1), ("",)):
        with pytest.raises(hookwire.HookNotFoundError, match="the name of a hook point is empty"):
            cache[key]
        assert key not in cache
        assert cache.get(key) is None
    for empty in ("", " "):
        with pytest.raises(hookwire.HookNotFoundError, match="is empty"):
            model.hook_dict[empty]
        with pytest.raises(hookwire.HookNotFoundError, match="an empty name"):
            model.run_with_hooks(TOKENS, fwd_hooks=[(empty, hookwire.ops.zero())])


@pytest.mark.parametrize("name", ["pop", "popitem", "clear", "update", "setdefault"])
def test_what_changes_a_dictionary_says_what_can_be_changed(
    model: hookwire.RemoteModel, name: str
) -> None:
    _, cache = model.run_with_cache(TOKENS)
    with pytest.raises(hookwire.NoAttributeError, match=f"cache.cache_dict is a dict .* {name!r}"):
        getattr(cache, name)


def through_pickle(cache: Any) -> Any:
    return pickle.loads(pickle.dumps(cache))


def through_torch(cache: Any) -> Any:
    file = io.BytesIO()
    torch.save(cache, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("tensors", ["numpy", "torch"])
@pytest.mark.parametrize("again", [through_pickle, through_torch, copy.copy, copy.deepcopy])
def test_a_copy_of_a_cache_has_all_that_it_had(
    server: FakeServer, tensors: Any, again: Callable[[Any], Any]
) -> None:
    texts = [[3, 1, 4, 1], [5, 9]]
    with hookwire.connect(server.address, tensors=tensors, quiet=True) as model:
        # A hook that cannot be pickled is no part of a cache.
        model.add_hook("hook_embed", hookwire.read_only(lambda tensor, hook: None))
        model.reset_hooks()
        _, cache = model.run_with_cache(texts)
        model.add_hook("hook_embed", lambda tensor, hook: None)
        made = again(cache)
        assert type(made) is hookwire.ActivationCache
        assert made is not cache
        assert made.receipt == cache.receipt
        assert list(made) == list(cache)
        for name, tensor in cache.items():
            assert made[name].dtype == tensor.dtype
            assert np.array_equal(made[name], tensor), name
        assert made["embed"] is made["embed.hook_out"]  # two names, one tensor
        assert (np.asarray(made.mask) == [[1, 1, 1, 1], [1, 1, 0, 0]]).all()
        assert made.has_batch_dim
        (row,) = made.apply_slice_to_batch_dim([1]).mask
        assert np.array_equal(row, [True, True, False, False])
        alone = made.apply_slice_to_batch_dim(0)
        assert not again(alone).has_batch_dim
        assert again(alone)["resid_post", -1].shape == cache["resid_post", -1].shape[1:]


def test_a_deep_copy_shares_no_memory(model: hookwire.RemoteModel) -> None:
    _, cache = model.run_with_cache(TOKENS)
    made = copy.deepcopy(cache)
    made["embed"][:] = 7
    assert not (cache["embed"] == 7).any()
    assert made.model is cache.model
    shallow = copy.copy(cache)
    shallow.cache_dict.clear()
    assert len(cache) > 10


def test_a_dict_of_tensors_needs_no_trust(server: FakeServer, tmp_path: Path) -> None:
    with hookwire.connect(server.address, tensors="torch", quiet=True) as model:
        _, cache = model.run_with_cache(TOKENS)
    torch.save(cache.cache_dict, tmp_path / "cache.pt")
    read = torch.load(tmp_path / "cache.pt", weights_only=True)
    assert read.keys() == cache.keys()
    assert all(torch.equal(read[name], cache[name]) for name in cache)


LATER = """
import pickle, sys
import hookwire, numpy as np
cache, logits = pickle.load(open(sys.argv[1], "rb"))
entries, labels = cache.accumulated_resid(return_labels=True)
print(labels[-1], cache.model)
ids = logits[0, -1].argmax()
attrs = cache.logit_attrs(cache.decompose_resid(pos_slice=-1), "Mary", pos_slice=-1)
want = cache["unembed"][0, -1, cache.model.to_single_token("Mary")]
assert abs(attrs.sum(0)[0] - want) < 1e-4, (attrs.sum(0), want)
assert cache.compute_head_results() is None and cache["result", 2].shape[-1] == 64
"""


def test_another_process_computes_with_it(tmp_path: Path) -> None:
    with daemon() as address:
        with hookwire.connect(address, tensors="numpy", quiet=True) as model:
            logits, cache = model.run_with_cache(CLEAN)
        path = tmp_path / "cache.pickle"
        path.write_bytes(pickle.dumps((cache, logits)))
        made = subprocess.run(
            [sys.executable, "-c", LATER, path], capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stderr
        assert made.stdout.startswith("final_post")


def test_without_a_server_it_says_what_needs_one() -> None:
    options: Any = {"tensors": "numpy", "quiet": True, "cache_weights": False}
    with daemon() as address, hookwire.connect(address, **options) as model:
        pickled = pickle.dumps(model.run_with_cache([CLEAN, SHORT])[1])
    cache = pickle.loads(pickled)
    # What needs nothing but tensors needs no server, names included.
    assert cache["resid_post", -1] is cache["blocks.5.hook_out"]
    assert cache.accumulated_resid().shape[0] == 7
    with pytest.raises(hookwire.UnavailableError, match="no Hookwire server answers"):
        cache.logit_lens()
    with pytest.raises(hookwire.UnavailableError):
        cache.logit_attrs(cache.accumulated_resid(), "Mary")


async def test_a_cache_of_an_asynchronous_model_reads_words() -> None:
    with daemon() as address:
        async with await aio.connect(address, tensors="numpy", quiet=True) as model:
            # Token ids alone have asked for no tokenizer yet.
            logits, cache = await model.run_with_cache([[2, 5, 7, 9]])
            parts = cache.decompose_resid(pos_slice=-1)
            attrs = cache.logit_attrs(parts, "Mary", pos_slice=-1)
            mary = (await model.tokenizer()).to_single_token("Mary")
            assert abs(attrs.sum(0)[0] - cache["unembed"][0, -1, mary]) < 1e-4
            assert logits.shape[-1] == cache["unembed"].shape[-1]
