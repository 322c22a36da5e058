"""The life of a client: closed, forked, handed to a worker, for a while without a server."""

from __future__ import annotations

import asyncio
import copy
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import hookwire
import numpy as np
import pytest
from hookwire import aio, ops
from hookwire._proto import service_pb2
from hookwire.wire import rpc

from tests.client import children
from tests.client.fake_server import FakeServer
from tests.client.test_daemon import ROOT, daemon
from tests.client.test_load import CALLS, TOKENS, all_of, start_again


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with daemon("--numerics", "reference") as address:
        yield address


@pytest.mark.parametrize("kind", children.KINDS)
def test_children(address: str, kind: str) -> None:
    command = [sys.executable, "-m", "tests.client.children", address, kind]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.stdout == "ok\n", ended.stderr


def test_event_loops_one_after_the_other(server: FakeServer, model: hookwire.RemoteModel) -> None:
    twin = asyncio.run(aio.connect(server.address, tensors="numpy", quiet=True))
    for _ in range(2):
        assert np.array_equal(asyncio.run(twin(TOKENS)), model(TOKENS))
    asyncio.run(twin.close())


def through_pickle(model: Any) -> Any:
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize("copied", [through_pickle, copy.copy, copy.deepcopy])
def test_a_copy_of_a_model(
    model: hookwire.RemoteModel, server: FakeServer, copied: Callable[[Any], Any]
) -> None:
    model.add_hook("hook_embed", ops.scale(2.0))
    server.calls.clear()
    other = copied(model)
    assert server.calls == []  # it connects when it is first used
    assert other.cfg == model.cfg
    assert other.server == model.server
    assert np.array_equal(other(TOKENS), model(TOKENS))
    model.close()
    assert isinstance(other(TOKENS), np.ndarray)
    start_again(server)
    with pytest.raises(hookwire.LoadChangedError, match="fake"):
        other(TOKENS)
    other.close()


async def test_a_copy_of_an_asynchronous_model(server: FakeServer) -> None:
    async with await aio.connect(server.address, tensors="numpy", quiet=True) as model:
        other = through_pickle(model)
        assert np.array_equal(await other(TOKENS), await model(TOKENS))
        assert other.hook_names() == model.hook_names()
        start_again(server)
        for call in (other(TOKENS), through_pickle(model).run_with_cache(TOKENS)):
            with pytest.raises(hookwire.LoadChangedError):
                await call
        await other.close()


def test_a_hook_that_cannot_be_pickled(model: hookwire.RemoteModel) -> None:
    model.add_hook("hook_embed", lambda tensor, hook: None)
    with pytest.raises(hookwire.HookwireError, match="reset_hooks"):
        pickle.dumps(model)
    model.reset_hooks()
    pickle.dumps(model)


def test_errors_come_out_of_a_worker(model: hookwire.RemoteModel, server: FakeServer) -> None:
    start_again(server)
    with pytest.raises(hookwire.LoadChangedError) as caught:
        model(TOKENS)
    error = through_pickle(caught.value)
    assert type(error) is hookwire.LoadChangedError
    assert str(error) == str(caught.value)
    assert error.metadata == caught.value.metadata
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_after_close(model: hookwire.RemoteModel, call: Callable[[Any], Any]) -> None:
    model.close()
    with pytest.raises(hookwire.ClosedError, match="was closed with close"):
        call(model)
    model.close()
    assert not model.reconnect()
    call(model)


async def test_a_closed_model_is_not_entered(
    server: FakeServer, model: hookwire.RemoteModel
) -> None:
    entered = []
    model.close()
    with pytest.raises(hookwire.ClosedError, match="was closed with close"), model:
        entered.append(model)
    twin = await aio.connect(server.address, quiet=True)
    await twin.close()
    with pytest.raises(hookwire.ClosedError, match="was closed with close"):
        async with twin:
            entered.append(twin)
    assert not entered
    model.reconnect()
    with model:
        model(TOKENS)


def test_streams_after_close(model: hookwire.RemoteModel, server: FakeServer) -> None:
    server.faults = {"stall"}
    begun, not_begun = model.stream(TOKENS), model.stream(TOKENS)
    next(begun)
    model.close()
    with pytest.raises(hookwire.CancelledError, match="the run was ended, because"):
        next(begun)
    with pytest.raises(StopIteration):
        next(begun)
    with pytest.raises(hookwire.ClosedError):
        next(not_begun)
    with pytest.raises(hookwire.ClosedError):
        model.server_load()


ASYNCHRONOUS: dict[str, Callable[[Any], Any]] = {
    **{name: call for name, call in CALLS.items() if name not in ("hook_names", "stream")},
    "stream": lambda model: all_of(model.stream(TOKENS, "hook_embed")),
    "server_load": lambda model: model.server_load(),
}


async def made(model: Any, call: Callable[[Any], Any]) -> Any:
    result = call(model)
    return await result if hasattr(result, "__await__") else result


@pytest.mark.parametrize("call", ASYNCHRONOUS.values(), ids=ASYNCHRONOUS)
async def test_an_asynchronous_model_after_close(
    server: FakeServer, call: Callable[[Any], Any]
) -> None:
    model = await aio.connect(server.address, tensors="numpy", quiet=True)
    await model.close()
    with pytest.raises(hookwire.ClosedError, match="was closed with close"):
        await made(model, call)
    await model.close()
    assert not await model.reconnect()
    await made(model, call)
    await model.close()


async def test_closing_ends_asynchronous_runs(server: FakeServer) -> None:
    server.faults = {"stall"}
    model = await aio.connect(server.address, tensors="numpy", quiet=True)
    stream = model.stream(TOKENS)
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    await model.close()
    with pytest.raises(hookwire.CancelledError, match="the run was ended, because"):
        await waiting


async def test_a_task_that_is_cancelled_stays_cancelled(server: FakeServer) -> None:
    server.faults = {"stall"}
    async with await aio.connect(server.address, tensors="numpy", quiet=True) as model:
        stream = model.stream(TOKENS)
        await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


def test_a_deadline_says_in_which_stage(model: hookwire.RemoteModel, server: FakeServer) -> None:
    server.faults = {"stall"}
    with pytest.raises(hookwire.DeadlineError) as caught:
        model.run_with_cache(TOKENS, timeout=0.3)
    said = str(caught.value)
    assert said.startswith("the run took longer than its timeout of 0.3 s: 1 of 3 layers")
    size = 3 * 8  # of embed.hook_in, int64
    total = model.plan(TOKENS, "**").total_bytes
    assert f"{size} of {total:,} bytes of its result had come" in said


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([], "nothing had come"),
        (["accepted"], "no layer had been computed; 7 runs were ahead of it"),
        (["accepted", 2], "2 of 3 layers had been computed, 0 of"),
        (["accepted", 3, "tensor"], "all 3 layers had been computed, 384 of"),
    ],
)
@pytest.mark.parametrize("twin", [False, True])
async def test_stages(server: FakeServer, stages: list[Any], said: str, twin: bool) -> None:
    run = server.run

    def slow(request: Any) -> Iterator[Any]:
        for response in run(request):
            kind = response.WhichOneof("event")
            if kind == "accepted" and "accepted" in stages:
                response.accepted.queue_position = 7
                yield response
            elif kind == "progress":
                for layers in stages[1:2]:
                    response.progress.layers_done = layers
                    yield response
            elif kind == "tensors" and "tensor" in stages:
                yield response
                break
        server.go.wait(20)

    server._answers["run"] = slow

    async def run_it() -> None:
        if twin:
            async with await aio.connect(server.address, tensors="numpy", quiet=True) as model:
                await model(TOKENS, timeout=0.5)
        else:
            with hookwire.connect(server.address, tensors="numpy", quiet=True) as blocking:
                blocking(TOKENS, timeout=0.5)

    with pytest.raises(hookwire.DeadlineError, match=r"its timeout of 0\.5 s: ") as caught:
        await run_it()
    assert said in str(caught.value)


def test_a_deadline_of_connect() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(hookwire.DeadlineError) as caught:
            hookwire.connect(address, timeout=0.3)
    assert str(caught.value).startswith(
        "asking the server what it holds took longer than its timeout of 0.3 s: nothing had come "
        f"from {address}"
    )


@pytest.mark.parametrize(
    ("timeout", "error"),
    [("5", TypeError), (True, TypeError), (-1, ValueError), (float("nan"), ValueError)],
)
def test_what_is_no_timeout(model: hookwire.RemoteModel, timeout: Any, error: Any) -> None:
    for call in (model, model.plan, model.stream):
        with pytest.raises(error, match="timeout must be") as caught:
            call(TOKENS, timeout=timeout)
        assert isinstance(caught.value, hookwire.HookwireError)
    with pytest.raises(error, match="timeout must be"):
        hookwire.connect(model.server.address, timeout=timeout)
    assert model(TOKENS, timeout=float("inf")).size


def test_a_server_that_goes_away_in_a_run(model: hookwire.RemoteModel, server: FakeServer) -> None:
    server.faults = {"stall"}
    stream = model.stream(TOKENS)
    next(stream)
    ended = server._server.stop(None)
    server.go.set()
    with pytest.raises(hookwire.HookwireError):
        list(stream)
    ended.wait()
    with pytest.raises(hookwire.UnavailableError, match="no Hookwire server answers at"):
        model(TOKENS)


def test_something_else_answers() -> None:
    from concurrent import futures

    other = grpc.server(futures.ThreadPoolExecutor(1))
    address = f"127.0.0.1:{other.add_insecure_port('127.0.0.1:0')}"
    other.start()
    with pytest.raises(
        hookwire.UnsupportedError, match="is not a Hookwire server, or is an older one"
    ):
        hookwire.connect(address)
    other.stop(None).wait()


def test_a_server_that_is_away_is_looked_for_often() -> None:
    """gRPC doubles the pause between two attempts to connect, without end by default.

    Six attempts come within two seconds here; gRPC's own pauses would be 16 together.
    """
    options = dict(rpc.CHANNEL_OPTIONS)
    assert options["grpc.max_reconnect_backoff_ms"] * 1.2 <= 2000  # gRPC adds a fifth at random
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        port.listen()
        port.settimeout(60)
        calls = rpc.Calls(
            grpc.insecure_channel(f"127.0.0.1:{port.getsockname()[1]}", options=rpc.CHANNEL_OPTIONS)
        )
        begun = time.monotonic()
        waiting = calls.get_model.future(service_pb2.GetModelRequest(), wait_for_ready=True)
        for _ in range(6):
            port.accept()[0].close()
        assert time.monotonic() - begun < 12
        waiting.cancel()
        calls.channel.close()


def test_a_server_that_comes_back_is_found(server: FakeServer) -> None:
    with hookwire.connect(server.address, tensors="numpy", quiet=True) as model:
        want = model(TOKENS)
        server.stop()
        with pytest.raises(hookwire.UnavailableError):
            model(TOKENS)
        back = FakeServer(listen=server.address)
        back.load_id = server.load_id
        deadline = time.monotonic() + 30
        while True:
            try:
                assert np.array_equal(model(TOKENS), want)
                break
            except hookwire.UnavailableError:
                assert time.monotonic() < deadline
                threading.Event().wait(0.05)
        back.stop()


def test_the_banner_comes_once_for_a_load(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        with hookwire.connect(server.address) as model:
            model.reconnect()
    assert capsys.readouterr().err.count("\n") == 1
    start_again(server, "fake-it")
    with hookwire.connect(server.address, quiet=True):
        assert capsys.readouterr().err == ""
    with hookwire.connect(server.address):
        assert "fake-it" in capsys.readouterr().err


async def test_the_banner_of_both_clients(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    hookwire.connect(server.address).close()
    async with await aio.connect(server.address):
        assert capsys.readouterr().err.count("\n") == 1
