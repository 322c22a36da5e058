"""The cache is read as TransformerLens's is."""

from __future__ import annotations

import hookwire
import pytest

TOKENS = [[3, 1, 4]]


@pytest.fixture
def cache(model: hookwire.RemoteModel) -> hookwire.ActivationCache:
    return model.run_with_cache(TOKENS)[1]


def test_short_names(cache: hookwire.ActivationCache) -> None:
    assert cache["pattern", 1] is cache["blocks.1.attn.hook_pattern"]
    assert cache["q", -1] is cache["blocks.2.attn.hook_q"]
    assert cache["resid_post", -1] is cache["blocks.2.hook_out"]
    assert cache["resid_pre", 0] is cache["blocks.0.hook_in"]
    assert cache["embed"] is cache["hook_embed"]
    assert cache["pre", 2, "mlp"] is cache["blocks.2.mlp.hook_pre"]
    assert cache["pattern1"] is cache["blocks.1.attn.hook_pattern"]
    assert cache[("logits",)] is cache["hook_logits"]


def test_other_names_of_what_was_captured(model: hookwire.RemoteModel) -> None:
    _, cache = model.run_with_cache(TOKENS, names_filter="blocks.*.hook_in")
    assert cache["resid_pre", 1] is cache["blocks.1.hook_in"]
    assert "blocks.1.hook_resid_pre" in cache
    assert list(cache) == ["blocks.0.hook_in", "blocks.1.hook_in", "blocks.2.hook_in"]


def test_missing_names(model: hookwire.RemoteModel) -> None:
    _, cache = model.run_with_cache(TOKENS, names_filter="blocks.*.hook_in")
    with pytest.raises(KeyError, match="was not captured"):
        cache["pattern", 1]
    with pytest.raises(hookwire.HookNotFoundError, match=r"nearest: blocks\.1\.hook_in"):
        cache["blocks.1.hook_inn"]
    with pytest.raises(TypeError):
        cache[3]
    assert cache.get("nothing") is None


def test_it_is_a_mapping(cache: hookwire.ActivationCache) -> None:
    assert len(cache) == len(list(cache)) == len(cache.keys()) == len(cache.values())
    assert dict(cache.items()) == dict(cache.cache_dict)
    assert repr(cache).startswith("ActivationCache with keys ['embed.hook_in'")


def test_remove_batch_dim_twice(cache: hookwire.ActivationCache) -> None:
    assert cache.remove_batch_dim() is cache
    shape = cache["embed"].shape
    assert cache.remove_batch_dim()["embed"].shape == shape
