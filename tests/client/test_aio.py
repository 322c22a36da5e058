"""The asynchronous twin gives what the blocking model gives."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import pickle
import warnings

import hookwire
import numpy as np
import pytest
from hookwire import aio, ops

from tests.client.fake_server import FakeServer

TEXTS = ["When Mary and John went", "a small step"]


def test_the_same_names_and_arguments() -> None:
    for name, method in inspect.getmembers(hookwire.RemoteModel, inspect.isfunction):
        if name.startswith("_") and name != "__call__":
            continue
        twin = getattr(aio.AsyncRemoteModel, name, None)
        assert twin is not None, name
        ours, theirs = inspect.signature(method), inspect.signature(twin)
        assert list(ours.parameters.values()) == list(theirs.parameters.values()), name


async def test_everything(server: FakeServer, model: hookwire.RemoteModel) -> None:
    hooks = [("blocks.1.hook_in", ops.zero(pos=1))]
    async with await hookwire.aio.connect(server.address, tensors="numpy", quiet=True) as twin:
        logits, cache = await twin.run_with_cache(TEXTS, names_filter="blocks.*.attn.*")
        want, want_cache = model.run_with_cache(TEXTS, names_filter="blocks.*.attn.*")
        assert np.array_equal(logits, want)
        assert list(cache) == list(want_cache)
        assert all(np.array_equal(cache[name], want_cache[name]) for name in cache)
        assert np.array_equal(cache["pattern", 1], want_cache["pattern", 1])
        assert np.array_equal(cache.mask, want_cache.mask)
        assert twin.last_receipt == model.last_receipt

        assert np.array_equal(await twin(TEXTS), model(TEXTS))
        assert np.array_equal(
            await twin.run_with_hooks(TEXTS, fwd_hooks=hooks),
            model.run_with_hooks(TEXTS, fwd_hooks=hooks),
        )
        assert np.array_equal(await twin.log_probs(TEXTS, "Mary"), model.log_probs(TEXTS, "Mary"))
        assert np.array_equal(
            await twin.log_probs([[1, 2]], "Mary"), model.log_probs([[1, 2]], "Mary")
        )
        assert await twin.plan(TEXTS, "**") == model.plan(TEXTS, "**")
        assert np.array_equal(await twin.to_tokens(TEXTS), model.to_tokens(TEXTS))
        assert await twin.to_str_tokens("a step") == model.to_str_tokens("a step")
        assert await twin.to_string([1, 2]) == model.to_string([1, 2])
        assert await twin.to_single_token("Mary") == model.to_single_token("Mary")
        assert await twin.to_single_str_token(5) == model.to_single_str_token(5)
        assert await twin.get_token_position("step", TEXTS[1]) == 3
        assert twin.hook_names() == model.hook_names()
        assert twin.cfg == model.cfg

        streamed = {name: tensor async for name, tensor in twin.stream(TEXTS, "blocks.*.hook_in")}
        assert list(streamed) == [f"blocks.{i}.hook_in" for i in range(3)]
        with twin.hooks(fwd_hooks=hooks):
            inside = await twin(TEXTS)
        assert np.array_equal(inside, model.run_with_hooks(TEXTS, fwd_hooks=hooks))


async def test_hooks_belong_to_the_model_not_to_a_task(server: FakeServer) -> None:
    async with await aio.connect(server.address, tensors="numpy", quiet=True) as twin:
        plain = await twin([[1, 2, 3]])
        entered, end = asyncio.Event(), asyncio.Event()

        async def block() -> None:
            with twin.hooks(fwd_hooks=[("hook_embed", ops.zero())]):
                entered.set()
                await end.wait()

        other = asyncio.create_task(block())
        await entered.wait()
        zeroed = await twin([[1, 2, 3]])
        end.set()
        await other
        assert plain.any()
        assert not zeroed.any()
        assert np.array_equal(await twin([[1, 2, 3]]), plain)


async def test_many_at_once(server: FakeServer) -> None:
    async with await aio.connect(server.address, tensors="numpy", quiet=True) as twin:
        rows = [[i, i + 1, i + 2] for i in range(1, 20)]
        results = await asyncio.gather(*(twin([row]) for row in rows))
        together = await twin(rows)
        assert np.array_equal(np.concatenate(results), together)


@pytest.mark.parametrize("end", ["aclose", "with"])
async def test_ending_a_stream_cancels_the_run(server: FakeServer, end: str) -> None:
    server.faults = {"stall"}
    async with await aio.connect(server.address, quiet=True) as twin:
        stream = twin.stream([[1, 2, 3]])
        if end == "aclose":
            await anext(stream)
            await stream.aclose()
        else:
            async with stream:
                await anext(stream)
        assert await asyncio.to_thread(server.cancelled.wait, 5)


async def test_a_stream_cannot_be_pickled(server: FakeServer) -> None:
    async with await aio.connect(server.address, quiet=True) as model:
        stream = model.stream([[1, 2]])
        for copied in (pickle.dumps, copy.copy):
            with pytest.raises(
                hookwire.ArgumentTypeError, match="a stream belongs to a run that is in progress"
            ):
                copied(stream)
        assert [name async for name, _ in stream]


async def test_a_stream_that_was_never_begun(server: FakeServer) -> None:
    async with await aio.connect(server.address, quiet=True) as twin:
        await twin.stream([[1, 2, 3]]).aclose()
        assert "run" not in server.calls


async def test_forgetting_a_stream_that_was_never_begun(server: FakeServer) -> None:
    async with await aio.connect(server.address, quiet=True) as twin:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            stream = twin.stream([[1, 2, 3]])
            del stream
            gc.collect()
        assert [str(one.message) for one in warned] == []
        assert "run" not in server.calls


async def test_errors(server: FakeServer) -> None:
    async with await aio.connect(server.address, quiet=True) as twin:
        with pytest.raises(hookwire.HookNotFoundError):
            await twin.run_with_cache([[1]], names_filter="nothing")
        with pytest.raises(hookwire.HookNotFoundError):
            await anext(twin.stream([[1]], "nothing"))
        with pytest.raises(hookwire.TokenOutOfRangeError):
            await twin.plan([[99]])
        server.faults = {"no receipt"}
        with pytest.raises(hookwire.IncompleteResultError):
            await twin([[1]])
    with pytest.raises(hookwire.UnavailableError):
        await aio.connect("127.0.0.1:9", quiet=True)


async def test_without_a_next_token_there_is_no_loss(server: FakeServer) -> None:
    async with await aio.connect(server.address, tensors="numpy", quiet=True) as twin:
        for value in ("", [5], ["", ""]):
            for kind in ("loss", "both"):
                with pytest.raises(hookwire.NothingToPredictError):
                    await twin(value, return_type=kind)
            with pytest.raises(hookwire.NothingToPredictError):
                await twin.log_probs(value)


async def test_no_tokenizer() -> None:
    server = FakeServer(files=None)
    async with await aio.connect(server.address, quiet=True) as twin:
        with pytest.raises(hookwire.NoTokenizerError):
            await twin("a small step")
        await twin([[1, 2], [3]])
        assert server.calls.count("get_tokenizer") == 1
    server.stop()


async def test_what_is_written_as_for_a_blocking_model_says_how_it_is(server: FakeServer) -> None:
    async with await aio.connect(server.address, quiet=True) as twin:
        with pytest.raises(hookwire.ArgumentTypeError, match="entered with async with"), twin:
            pass
        with pytest.raises(hookwire.ArgumentTypeError, match="read with async for"):
            list(twin.stream(TEXTS, "hook_embed"))  # type: ignore[call-overload]
