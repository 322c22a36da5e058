"""A server that was started again with another model is noticed by every call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hookwire
import numpy as np
import pytest
from hookwire import aio, ops

from tests.client import fake_model as fm
from tests.client.conftest import tokenizer_files
from tests.client.fake_server import FakeServer

OTHER = "b" * 32
TOKENS = [[3, 1, 4]]

Calls = dict[str, Callable[[Any], Any]]
CALLS: Calls = {
    "call": lambda model: model(TOKENS),
    "loss": lambda model: model(TOKENS, return_type="loss"),
    "run_with_cache": lambda model: model.run_with_cache(TOKENS, names_filter="blocks.**"),
    "run_with_hooks": lambda model: model.run_with_hooks(
        TOKENS, fwd_hooks=[("hook_embed", ops.zero())]
    ),
    "plan": lambda model: model.plan(TOKENS),
    "stream": lambda model: list(model.stream(TOKENS, "hook_embed")),
    "log_probs": lambda model: model.log_probs(TOKENS, 3),
    "to_tokens": lambda model: model.to_tokens("a small step"),
    "hook_names": lambda model: model.hook_names(),
    "W_U": lambda model: model.W_U,
    "rows": lambda model: model.weights.rows("unembed.weight", [1]),
    "directions": lambda model: model.tokens_to_residual_directions([3, 4]),
}


async def all_of(stream: Any) -> list[Any]:
    return [item async for item in stream]


# The hook points are here asked for by `connect`.
ASYNCHRONOUS: Calls = {
    **{name: call for name, call in CALLS.items() if name != "hook_names"},
    "stream": lambda model: all_of(model.stream(TOKENS, "hook_embed")),
}


def start_again(server: FakeServer, name: str = "fake") -> None:
    server.load_id, server.name = OTHER, name


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_call_is_refused(
    model: hookwire.RemoteModel, server: FakeServer, call: Callable[[Any], Any]
) -> None:
    before = server.load_id
    start_again(server)
    with pytest.raises(hookwire.LoadChangedError) as caught:
        call(model)
    said = str(caught.value)
    assert before in said
    assert OTHER in said
    assert "model.reconnect()" in said
    assert "other weights or other settings" in said
    assert caught.value.metadata == {"expected": before, "loaded": OTHER, "model": "fake"}
    assert model.reconnect()
    call(model)


@pytest.mark.parametrize("call", ASYNCHRONOUS.values(), ids=ASYNCHRONOUS)
async def test_every_asynchronous_call_is_refused(
    server: FakeServer, call: Callable[[Any], Any]
) -> None:
    async def made(model: Any) -> Any:
        result = call(model)
        return await result if hasattr(result, "__await__") else result

    async with await aio.connect(server.address, tensors="numpy", quiet=True) as model:
        before = server.load_id
        start_again(server, "fake-it")
        with pytest.raises(hookwire.LoadChangedError) as caught:
            await made(model)
        assert f"fake (load {before})" in str(caught.value)
        assert f"fake-it (load {OTHER})" in str(caught.value)
        assert await model.reconnect()
        await made(model)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_call_states_the_load(
    model: hookwire.RemoteModel, server: FakeServer, call: Callable[[Any], Any]
) -> None:
    server.expected.clear()
    call(model)
    assert set(server.expected) == {server.load_id}


def test_nothing_is_sent_to_a_server_without_loads(server: FakeServer) -> None:
    server.load_id = ""
    with hookwire.connect(server.address, tensors="numpy", quiet=True) as model:
        for call in CALLS.values():
            call(model)
        assert set(server.expected) == {""}
        assert not model.reconnect()
        server.digest = "sha256:" + "1" * 64  # it was pending
        assert not model.reconnect()
        server.digest = "sha256:" + "2" * 64
        assert model.reconnect()
        server.name = "fake-it"
        assert model.reconnect()


def test_reconnecting_takes_what_the_server_holds_now(
    model: hookwire.RemoteModel, server: FakeServer
) -> None:
    tokenizer, weights, names = model.tokenizer, model.weights, model.hook_names()
    assert not model.reconnect()
    assert model.cfg.model_name == "fake"
    start_again(server, "fake-it")
    server.lacks = {"blocks.2.hook_out"}
    assert model.reconnect()
    assert model.cfg.model_name == "fake-it"
    assert model.tokenizer is not tokenizer
    assert model.weights is not weights
    assert set(names) - set(model.hook_names()) == {"blocks.2.hook_out", "blocks.2.hook_resid_post"}
    with pytest.raises(hookwire.LoadChangedError):
        weights["embed.weight"]
    np.testing.assert_array_equal(model.weights["embed.weight"], fm.EMBED)


def test_a_tokenizer_that_came_later(server: FakeServer) -> None:
    server.files = None
    with hookwire.connect(server.address, tensors="numpy", quiet=True) as model:
        with pytest.raises(hookwire.NoTokenizerError):
            model.to_tokens("a")
        start_again(server)
        server.files = tokenizer_files()
        model.reconnect()
        assert model.to_tokens("a").size


def test_hooks_stay(model: hookwire.RemoteModel, server: FakeServer) -> None:
    model.add_hook("hook_embed", ops.zero())
    want = model(TOKENS)
    start_again(server)
    model.reconnect()
    assert np.array_equal(model(TOKENS), want)
    assert [change.hook for change in server.specs[-1].interventions]


@pytest.mark.parametrize(
    "where",
    ["blocks.2.hook_out", "blocks.2.hook_resid_po*", lambda name: name == "blocks.2.hook_out"],
)
def test_hooks_without_a_place_are_named(
    model: hookwire.RemoteModel, server: FakeServer, where: Any
) -> None:
    model.add_hook("hook_embed", ops.zero())
    model.add_hook(where, ops.zero(), is_permanent=True)
    start_again(server)
    server.lacks = {"blocks.2.hook_out"}
    with pytest.raises(hookwire.HookNotFoundError, match="reset_hooks") as caught:
        model.reconnect()
    assert ("the function" if callable(where) else where) in str(caught.value)
    assert "hook_embed" not in str(caught.value).partition("did you mean")[0]
    with pytest.raises(hookwire.LoadChangedError):
        model(TOKENS)
    model.reset_hooks(including_permanent=True)
    model.reconnect()
    model(TOKENS)


def test_a_cache_of_an_earlier_load(model: hookwire.RemoteModel, server: FakeServer) -> None:
    _, cache = model.run_with_cache(TOKENS)
    assert cache.weights is model.weights
    start_again(server)
    with pytest.raises(hookwire.LoadChangedError):
        cache.weights["unembed.weight"]
    model.reconnect()
    with pytest.raises(hookwire.LoadChangedError, match="run the prompt again"):
        cache.weights["unembed.weight"]
    assert cache["hook_embed"].shape == (1, 3, 4)


async def test_a_server_that_starts_again_while_it_is_met(server: FakeServer) -> None:
    get_model, before = server.get_model, server.load_id

    def once(request: Any) -> Any:
        answer = get_model(request)
        server.load_id, server.name = OTHER, "fake-it"
        return answer

    server._answers["get_model"] = once
    async with await aio.connect(server.address, tensors="numpy", quiet=True) as model:
        assert model.cfg.model_name == "fake-it"
        assert server.expected == [before, OTHER]
        await model(TOKENS)


async def test_an_address_at_which_servers_take_turns(server: FakeServer) -> None:
    get_model = server.get_model

    def always(request: Any) -> Any:
        answer = get_model(request)
        server.load_id = answer.server.load_id[::-1] + "0"
        return answer

    server._answers["get_model"] = always
    with pytest.raises(hookwire.LoadChangedError, match="several servers"):
        await aio.connect(server.address, quiet=True)


def test_a_digest_that_was_pending_is_not_taken_from_another_load(
    server: FakeServer, tmp_path: Any
) -> None:
    server.digest = "pending"
    with hookwire.connect(
        server.address, tensors="numpy", quiet=True, cache_weights=tmp_path
    ) as model:
        start_again(server)
        server.digest = "sha256:" + "0" * 64
        with pytest.raises(hookwire.LoadChangedError):
            model.weights["embed.weight"]
        assert model.weights.__repr__().startswith("Weights(pending")
