"""Functions with the asynchronous model: plain ones and coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import hookwire
import pytest
import pytest_asyncio
import torch
from hookwire import aio, ops

from tests.interact.conftest import Pair

STREAM = "blocks.1.hook_in"


@pytest_asyncio.fixture
async def model(e_type: Pair) -> AsyncIterator[aio.AsyncRemoteModel]:
    async with await aio.connect(e_type.address, tensors="torch", quiet=True) as model:
        yield model


def plain(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
    return tensor * 2


async def coroutine(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
    await asyncio.sleep(0.01)
    return tensor * 2


async def in_place(tensor: torch.Tensor, hook: Any) -> None:
    await asyncio.sleep(0)
    tensor *= 2


@pytest.mark.parametrize("function", [plain, coroutine, in_place])
async def test_functions_do_what_they_do_when_blocking(
    e_type: Pair, model: aio.AsyncRemoteModel, function: Any
) -> None:
    tokens = e_type.tokens()
    want = e_type.remote.run_with_hooks(tokens, [(STREAM, plain)])
    assert torch.equal(await model.run_with_hooks(tokens, [(STREAM, function)]), want)
    logits, cache = await model.run_with_cache(
        tokens, names_filter=STREAM, fwd_hooks=[(STREAM, ops.zero()), (STREAM, function)]
    )
    assert not cache[STREAM].any()
    assert not torch.equal(logits, want)
    with model.hooks(fwd_hooks=[(STREAM, function)]):
        assert torch.equal(await model(tokens), want)
    model.add_hook(STREAM, function)
    assert torch.equal(await model(tokens), want)
    model.reset_hooks()
    assert not torch.equal(await model(tokens), want)


async def test_a_coroutine_may_use_the_model_and_others_go_on(
    e_type: Pair, model: aio.AsyncRemoteModel
) -> None:
    tokens, other = e_type.tokens(), e_type.tokens(4)
    _, cache = e_type.remote.run_with_cache(other, names_filter=STREAM)

    async def patch(tensor: torch.Tensor, hook: Any) -> Any:
        _, inner = await model.run_with_cache(other, names_filter=hook.name)
        return inner[hook.name]

    runs = [model.run_with_hooks(tokens, [(STREAM, patch)]) for _ in range(3)]
    want = e_type.remote.run_with_hooks(tokens, [(STREAM, ops.set(cache[STREAM]))])
    for logits in await asyncio.gather(*runs):
        assert torch.equal(logits, want)


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_exception_comes_out_as_it_is(
    e_type: Pair, model: aio.AsyncRemoteModel, is_async: bool
) -> None:
    def fail(tensor: torch.Tensor, hook: Any) -> None:
        raise LookupError("mine")

    async def fail_later(tensor: torch.Tensor, hook: Any) -> None:
        await asyncio.sleep(0)
        raise LookupError("mine")

    function = fail_later if is_async else fail
    with pytest.raises(LookupError, match="mine") as caught:
        await model.run_with_hooks(e_type.tokens(), [(STREAM, function)])
    assert caught.traceback[-1].name == function.__name__
    await model(e_type.tokens())


async def test_cancelling_a_task_ends_its_waiting_pass(
    e_type: Pair, model: aio.AsyncRemoteModel
) -> None:
    begun = asyncio.Event()

    async def forever(tensor: torch.Tensor, hook: Any) -> None:
        begun.set()
        await asyncio.sleep(600)

    for _ in range(6):  # more than passes may wait at once
        begun.clear()
        task = asyncio.create_task(model.run_with_hooks(e_type.tokens(), [(STREAM, forever)]))
        await asyncio.wait_for(begun.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.wait_for(model.run_with_hooks(e_type.tokens(), [(STREAM, coroutine)]), 10)


async def test_streams_starts_and_what_is_refused(
    e_type: Pair, model: aio.AsyncRemoteModel
) -> None:
    tokens = e_type.tokens()
    want = e_type.remote.run_with_hooks(tokens, [(STREAM, plain)])
    stream = model.stream(tokens, STREAM, fwd_hooks=[(STREAM, coroutine)], return_type="logits")
    got = {name: tensor async for name, tensor in stream}
    assert torch.equal(got["logits"], want)
    _, cache = await model.run_with_cache(tokens, names_filter=STREAM)
    text = " ".join(f"w{token}" for token in tokens[0, 1:].tolist())
    started = await model.run_with_hooks(
        cache[STREAM], [(STREAM, coroutine)], start_at_layer=1, tokens=text
    )
    assert torch.equal(started, want)
    with pytest.raises(hookwire.ValueShapeError):
        await model.run_with_hooks(tokens, [(STREAM, lambda tensor, hook: tensor[:, 1:])])
    with pytest.raises(hookwire.ValueNotFiniteError):
        await model.run_with_hooks(tokens, [(STREAM, lambda tensor, hook: tensor * torch.nan)])


async def test_the_hooks_of_a_block_apply_to_tasks(
    e_type: Pair, model: aio.AsyncRemoteModel
) -> None:
    """Also to those that begin when the block has ended: they were asked for inside it."""
    tokens = e_type.tokens()
    plain_logits = e_type.remote(tokens)
    want = e_type.remote.run_with_hooks(tokens, [(STREAM, plain)])
    before = model(tokens)
    with model.hooks(fwd_hooks=[(STREAM, plain)]):
        inside = asyncio.create_task(model(tokens))
        coroutine_of_it = model.run_with_hooks(tokens)
        cached = model.run_with_cache(tokens, names_filter=STREAM)
        streamed = model.stream(tokens, return_type="logits", names_filter=[])
        assert torch.equal(await asyncio.create_task(model(tokens)), want)
    assert torch.equal(await inside, want)
    assert torch.equal(await coroutine_of_it, want)
    assert torch.equal((await cached)[0], want)
    assert torch.equal(dict([one async for one in streamed])["logits"], want)
    assert torch.equal(await before, plain_logits)
    assert torch.equal(await model(tokens), plain_logits)


async def test_a_run_inside_a_function_has_the_hooks_of_its_own_call(
    e_type: Pair, model: aio.AsyncRemoteModel
) -> None:
    tokens = e_type.tokens()
    inner = []

    async def run_another(tensor: torch.Tensor, hook: Any) -> None:
        inner.append(await model(tokens))

    with model.hooks(fwd_hooks=[(STREAM, run_another)]):
        outer = model(tokens)
    assert torch.equal(await outer, e_type.remote(tokens))
    assert torch.equal(inner[0], e_type.remote(tokens))
