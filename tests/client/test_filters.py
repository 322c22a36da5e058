"""Short names in names_filter, integers beside another dtype, and what `plan` takes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import hookwire
import numpy as np
import pytest
from hookwire import aio
from hookwire.errors.nearest import nearest
from hookwire.facts import dtypes

from tests.client.fake_server import FakeServer
from tests.client.test_daemon import CLEAN, SHORT, daemon

TOKENS = [[3, 1, 4]]
LAYERS = range(3)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with daemon("--numerics", "reference") as address:
        yield address


@pytest.fixture
def toy(address: str) -> Iterator[hookwire.RemoteModel]:
    with hookwire.connect(address, tensors="numpy", quiet=True) as model:
        yield model


@pytest.mark.parametrize(
    ("names_filter", "names"),
    [
        ("resid_post", [f"blocks.{at}.hook_resid_post" for at in LAYERS]),
        ("pattern", [f"blocks.{at}.attn.hook_pattern" for at in LAYERS]),
        ("attn", [f"blocks.{at}.attn.hook_pattern" for at in LAYERS]),
        ("q", [f"blocks.{at}.attn.hook_q" for at in LAYERS]),
        ("pre", [f"blocks.{at}.mlp.hook_pre" for at in LAYERS]),
        ("embed", ["hook_embed"]),
        ("logits", ["hook_logits"]),
        ("q1", ["blocks.1.attn.hook_q"]),
        (("resid_post", 1), ["blocks.1.hook_resid_post"]),
        (("resid_post", -1), ["blocks.2.hook_resid_post"]),
        (("pre", 2, "mlp"), ["blocks.2.mlp.hook_pre"]),
        ([("q", 0), "embed", "blocks.1.hook_in"], ["blocks.0.attn.hook_q", "hook_embed"]),
        (("hook_embed", "hook_logits"), ["hook_embed", "hook_logits"]),
        (["q", ("q", 1)], [f"blocks.{at}.attn.hook_q" for at in LAYERS]),
    ],
)
def test_short_names_are_what_they_are_to_a_cache(
    model: hookwire.RemoteModel, names_filter: Any, names: list[str]
) -> None:
    _, whole = model.run_with_cache(TOKENS)
    _, cache = model.run_with_cache(TOKENS, names_filter=names_filter)
    assert set(names) <= set(cache)
    points = {model.hook_dict[name].name for name in cache}
    more = {"blocks.1.hook_in"} if "blocks.1.hook_in" in names_filter else set()
    assert points == {model.hook_dict[name].name for name in names} | more
    for name in names:
        assert np.array_equal(cache[name], whole[name])
    planned = {tensor.name for tensor in model.plan(TOKENS, names_filter).tensors}
    assert planned == points | {"logits"}
    streamed = {name for name, _ in model.stream(TOKENS, names_filter)}
    assert {model.hook_dict[name].name for name in streamed} == points


def test_layers_without_a_short_name_are_left_out(toy: hookwire.RemoteModel) -> None:
    _, cache = toy.run_with_cache(CLEAN, names_filter="k")
    has_own = [at for at, source in enumerate(toy.cfg.key_value_sources) if source is None]
    assert {toy.hook_dict[name].layer for name in cache} == set(has_own)
    # By its number, the server says why a layer has none.
    with pytest.raises(hookwire.AbsentHookError):
        toy.run_with_cache(CLEAN, names_filter=("k", 5))
    with pytest.warns(hookwire.SkippedWarning):
        _, cache = toy.run_with_cache(CLEAN, names_filter=[("k", 5), "embed"], missing="skip")
    assert "embed" in cache


@pytest.mark.parametrize(
    ("names_filter", "error", "message"),
    [
        ("", ValueError, "empty name"),
        (" ", ValueError, "empty name"),
        (["hook_embed", ""], ValueError, "empty name"),
        (3, TypeError, "must be None, a name"),
        (["hook_embed", 3], TypeError, "must be None, a name"),
        ([["hook_embed"]], TypeError, "must be None, a name"),
        (("resid_post", 3), KeyError, "layers 0 to 2"),
        (("resid_post", -4), KeyError, "layers 0 to 2"),
        ("resid_pst", KeyError, r"did you mean 'blocks\.\*\.hook_resid_post'"),
        ("hook_resid_post", KeyError, r"did you mean 'blocks\.\*\.hook_resid_post'"),
    ],
)
def test_what_is_no_filter(
    model: hookwire.RemoteModel, names_filter: Any, error: type[Exception], message: str
) -> None:
    for ask in (model.run_with_cache, model.plan, model.stream):
        with pytest.raises(error, match=message) as caught:
            ask(TOKENS, names_filter=names_filter)
        assert isinstance(caught.value, hookwire.HookwireError)


def test_an_empty_list_captures_nothing(model: hookwire.RemoteModel) -> None:
    assert len(model.run_with_cache(TOKENS, names_filter=[])[1]) == 0


NAMES = ["hook_embed", "hook_logits", "rotary_emb.sliding_attention.hook_cos"] + [
    f"blocks.{layer}.{part}"
    for layer in range(4)
    for part in ("hook_resid_post", "hook_resid_pre", "attn.hook_pattern", "attn.hook_z", "hook_in")
]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resid_post", ["blocks.*.hook_resid_post"]),
        ("hook_resid_pst", ["blocks.*.hook_resid_post"]),
        ("pattern", ["blocks.*.attn.hook_pattern"]),
        ("*hook_z", ["blocks.*.attn.hook_z"]),
        ("blocks.*.hook_pattern", ["blocks.*.attn.hook_pattern"]),
        ("blocks.2.attn.hook_patern", ["blocks.2.attn.hook_pattern"]),
        ("blocks.1.hook_z", ["blocks.1.attn.hook_z"]),
        ("hook_embd", ["hook_embed"]),
        ("resid", ["blocks.*.hook_resid_pre", "blocks.*.hook_resid_post"]),
        ("gradient", []),
        ("blocks.2.hook_foo", []),
        ("x", []),
        ("", []),
    ],
)
def test_what_is_not_near_is_not_suggested(name: str, near: list[str]) -> None:
    assert nearest(name, NAMES)[: len(near) or None] == near


def test_a_name_with_a_space_is_not_called_empty(model: hookwire.RemoteModel) -> None:
    with pytest.raises(hookwire.HookNotFoundError, match="there is no  blocks"):
        model.run_with_cache(TOKENS, names_filter=" blocks.1.hook_in ")
    for empty in ("", " ", ("", 1), ["hook_embed", " "]):
        with pytest.raises(hookwire.ArgumentError, match="an empty name in names_filter"):
            model.run_with_cache(TOKENS, names_filter=empty)


@pytest.mark.parametrize(
    ("keyword", "near"), [("pos", "pos_slice"), ("progres", "progress"), ("psn", None)]
)
def test_keywords_that_are_near(
    model: hookwire.RemoteModel, keyword: str, near: str | None
) -> None:
    with pytest.raises(TypeError) as caught:
        model.run_with_cache(TOKENS, **{keyword: -1})
    said = str(caught.value)
    assert f"{keyword!r}; " in said
    if near:
        assert said.endswith(f"; did you mean {near!r}?")
    else:
        assert "; it takes input, return_cache_object, " in said


@pytest.mark.parametrize(
    ("name", "near"),
    [("hook_embd", "hook_embed"), ("blocks.1.hook_resid_pst", "blocks.1.hook_resid_post")],
)
def test_a_misspelt_hook_point(model: hookwire.RemoteModel, name: str, near: str) -> None:
    with pytest.raises(KeyError, match=f"did you mean '{near}'") as caught:
        model.hook_dict[name]
    assert isinstance(caught.value, hookwire.HookNotFoundError)
    assert caught.value.suggestion == near
    assert name not in model.hook_dict
    assert model.hook_dict.get(name) is None
    _, cache = model.run_with_cache(TOKENS)
    with pytest.raises(KeyError, match=f"nearest: {near}"):
        cache[name]


def test_a_short_name_of_layers_wants_one(model: hookwire.RemoteModel) -> None:
    _, cache = model.run_with_cache(TOKENS)
    for key in ("pattern", "hook_resid_post"):
        with pytest.raises(KeyError, match="each layer has one: cache"):
            cache[key]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", np.float16])
@pytest.mark.parametrize(
    "names_filter",
    [None, "embed*.*", "embed.hook_in", ["hook_embed", "embed.**"], lambda name: "embed" in name],
)
@pytest.mark.parametrize("padded", [False, True])
def test_integers_stay_integers(
    toy: hookwire.RemoteModel, dtype: Any, names_filter: Any, padded: bool
) -> None:
    texts = [CLEAN, SHORT] if padded else CLEAN
    _, own = toy.run_with_cache(texts, names_filter=names_filter)
    _, cache = toy.run_with_cache(texts, names_filter=names_filter, dtype=dtype)
    assert list(cache) == list(own)
    for name, tensor in cache.items():
        if own[name].dtype.kind == "i":
            assert np.array_equal(tensor, own[name])
            assert tensor.dtype == own[name].dtype
        else:
            assert tensor.dtype == dtypes.NUMPY[dtypes.number(dtype)]
            assert np.array_equal(tensor, own[name].astype(tensor.dtype))
    assert np.array_equal(np.asarray(cache["embed.hook_in"]), toy.to_tokens(texts))


async def test_a_plan_takes_what_a_run_takes(server: FakeServer) -> None:
    arguments: dict[str, Any] = {
        "return_cache_object": False,
        "remove_batch_dim": True,
        "names_filter": "blocks.*.hook_out",
        "stop_at_layer": 2,
        "start_at_layer": 1,
        "pos_slice": slice(1, 3),
        "incl_bwd": False,
        "reset_hooks_end": True,
        "clear_contexts": True,
        "fwd_hooks": [("blocks.1.hook_out", hookwire.ops.zero())],
        "return_type": None,
        "loss_per_token": False,
        "logits_pos": None,
        "tokens": [3, 1, 4],
        "device": None,
        "dtype": "float32",
        "missing": "skip",
    }
    stream = np.zeros((1, 3, 4), np.float32)
    with hookwire.connect(server.address, tensors="numpy", quiet=True) as model:
        output, tensors = model.run_with_cache(stream, **arguments)
        plan = model.plan(stream, **arguments)
        assert {tensor.name: tensor.shape[1:] for tensor in plan.tensors} == {
            "residual": output.shape[1:],
            **{name: tensor.shape for name, tensor in tensors.items()},
        }
        with pytest.raises(hookwire.UnsupportedError):
            model.plan(TOKENS, incl_bwd=True)
        with pytest.raises(ValueError, match="single row"):
            model.plan([*TOKENS, *TOKENS], remove_batch_dim=True)
        async with await aio.connect(server.address, tensors="numpy", quiet=True) as twin:
            assert await twin.plan(stream, **arguments) == plan


@pytest.mark.parametrize("cls", [hookwire.RemoteModel, aio.AsyncRemoteModel])
def test_a_plan_has_all_arguments_of_a_run(cls: Any) -> None:
    run, plan = (
        {name: each.default for name, each in inspect.signature(method).parameters.items()}
        for method in (cls.run_with_cache, cls.plan)
    )
    assert plan == run
