"""Results through shared memory are those that come in messages, and leave nothing behind."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hookwire
import numpy as np
import pytest
from hookwire import aio, ops
from hookwire._proto import run_pb2, service_pb2
from hookwire.answer import assembly as results
from hookwire.wire.shared_memory import Segment

from tests.client.test_daemon import CLEAN, CORRUPTED, SHORT, daemon

# Enough rows for results that are worth it: every hook point has some megabytes.
TEXTS = [CLEAN, CORRUPTED, SHORT, "Tom and Anna"] * 8


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with daemon("--numerics", "reference", "--max-batch-tokens", "200") as address:
        yield address


@pytest.fixture
def model(address: str) -> Iterator[hookwire.RemoteModel]:
    with hookwire.connect(address, tensors="numpy", quiet=True) as model:
        yield model


@pytest.fixture
def plain(address: str) -> Iterator[hookwire.RemoteModel]:
    """Connected without shared memory."""
    with hookwire.connect(address, tensors="numpy", quiet=True, shared_memory=False) as model:
        yield model


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each chunk that came through shared memory."""
    sizes: list[int] = []
    resolve = Segment._resolve

    def count(segment: Segment, chunk: Any) -> Any:
        resolved = resolve(segment, chunk)
        sizes.append(len(resolved.data))
        return resolved

    monkeypatch.setattr(Segment, "_resolve", count)
    return sizes


def same(got: Any, want: Any) -> bool:
    """Whether two arrays have the same bits."""
    alike: bool = got.shape == want.shape and got.dtype == want.dtype
    return alike and got.tobytes() == want.tobytes()


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


RUNS: dict[str, dict[str, Any]] = {
    "everything": {},
    "padding on the right": {"padding_side": "right"},
    "bfloat16": {"dtype": "bfloat16", "names_filter": "blocks.**"},
    "float16": {"dtype": "float16", "names_filter": "blocks.**"},
    "float64": {"dtype": "float64", "names_filter": "blocks.**"},
    "positions": {"pos_slice": [-1, 12], "return_type": None},
    "a loss": {"return_type": "both", "names_filter": "blocks.*.hook_out"},
    "a stop": {"stop_at_layer": 3},
    "changes": {"fwd_hooks": [("blocks.1.hook_out", ops.scale(2.0, pos=-1))]},
    "before changes": {"fwd_hooks": [("hook_embed", ops.zero(pos=-1))], "moment": "before"},
}


@pytest.mark.filterwarnings("ignore::hookwire.NonFiniteWarning")
@pytest.mark.parametrize("arguments", RUNS.values(), ids=RUNS)
def test_the_bits_are_the_same(
    model: hookwire.RemoteModel,
    plain: hookwire.RemoteModel,
    shared: list[int],
    arguments: dict[str, Any],
) -> None:
    want, want_cache = plain.run_with_cache(TEXTS, **arguments)
    assert not shared
    got, cache = model.run_with_cache(TEXTS, **arguments)
    assert model.last_receipt is not None
    assert sum(shared) == model.last_receipt.bytes
    assert list(cache) == list(want_cache)
    for name in cache:
        assert same(cache[name], want_cache[name]), name
    for one, other in zip(
        got if isinstance(got, tuple) else (got,),
        want if isinstance(want, tuple) else (want,),
        strict=True,
    ):
        assert one is None if other is None else same(one, other)


def test_large_arrays_are_made_before_their_bytes_come(
    model: hookwire.RemoteModel, plain: hookwire.RemoteModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_LARGE_BYTES", 100_000)
    monkeypatch.setattr(results, "_PREPARED_BYTES", 1_000_000)
    want = plain.run_with_cache(TEXTS)[1]
    run = model.stream(TEXTS)._run
    events = model._connection.run(run.request.message, None)
    run.feed(next(events))
    made, room = [], 1_000_000
    for entry in run.assembly.entries:
        room -= entry.sent_bytes
        made.append(room >= 0 and entry.sent_bytes >= 100_000)
    assert any(made)
    assert [entry.array is not None for entry in run.assembly.entries] == made
    for event in events:
        run.feed(event)
    run.finish()
    for entry in run.assembly.entries:
        for name in entry.names:
            assert same(entry.array, want[name]), name


def test_integers_are_the_same(
    model: hookwire.RemoteModel, plain: hookwire.RemoteModel, shared: list[int]
) -> None:
    texts = TEXTS * 120
    _, cache = model.run_with_cache(texts, names_filter="embed.hook_in", return_type=None)
    _, want = plain.run_with_cache(texts, names_filter="embed.hook_in", return_type=None)
    assert cache["embed.hook_in"].dtype == np.int64
    assert same(cache["embed.hook_in"], want["embed.hook_in"])
    assert sum(shared) == sum(map(len, [model.to_tokens(text)[0] for text in texts])) * 8


def test_small_results_and_functions_come_in_messages(
    model: hookwire.RemoteModel, shared: list[int]
) -> None:
    model(SHORT)
    seen: list[Any] = []
    model.run_with_hooks(TEXTS, fwd_hooks=[("blocks.*.hook_out", lambda x, hook: seen.append(x))])
    assert seen
    assert not shared


def test_torch_tensors_are_the_users_own(address: str, plain: hookwire.RemoteModel) -> None:
    want, _ = plain.run_with_cache(TEXTS)
    with hookwire.connect(address, tensors="torch", quiet=True) as model:
        logits, cache = model.run_with_cache(TEXTS)
        assert same(logits.numpy(), want)
        logits.zero_()
        for name in cache:
            cache[name].fill_(7)
        again, _ = model.run_with_cache(TEXTS)
        assert same(again.numpy(), want)
        assert not logits.any()


def test_what_was_returned_stays_when_others_come(
    model: hookwire.RemoteModel, plain: hookwire.RemoteModel
) -> None:
    kept = [model.run_with_cache(texts)[1] for texts in (TEXTS, TEXTS[::-1])]
    wants = [plain.run_with_cache(texts)[1] for texts in (TEXTS, TEXTS[::-1])]
    model.close()
    for cache, want in zip(kept, wants, strict=True):
        assert all(same(cache[name], want[name]) for name in want)


def test_one_memory_serves_one_run_after_the_other(
    model: hookwire.RemoteModel, shared: list[int]
) -> None:
    for _ in range(3):
        shared.clear()
        model.run_with_cache(TEXTS)
        assert shared
        model(SHORT)
    assert len(model._connection.shared_memory._free) == 1
    with pytest.raises(hookwire.HookNotFoundError):
        model.run_with_cache(TEXTS, names_filter="hook_nowhere")
    shared.clear()
    model.run_with_cache(TEXTS)
    assert shared


def test_runs_at_the_same_time(
    model: hookwire.RemoteModel, plain: hookwire.RemoteModel, shared: list[int]
) -> None:
    inputs = [TEXTS[at:] + TEXTS[:at] for at in range(4)]
    wants = [plain(texts) for texts in inputs]
    wrong: list[int] = []

    def run(number: int) -> None:
        for _ in range(5):
            logits, _ = model.run_with_cache(inputs[number])
            if not same(logits, wants[number]):
                wrong.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert shared


def test_a_stream_that_ends_early(
    model: hookwire.RemoteModel, plain: hookwire.RemoteModel, shared: list[int]
) -> None:
    want = dict(plain.stream(TEXTS, "blocks.*.hook_out"))
    for _ in range(3):
        with model.stream(TEXTS) as stream:
            next(stream)
        shared.clear()
        got = dict(model.stream(TEXTS, "blocks.*.hook_out"))
        assert list(got) == list(want)
        assert all(same(got[name], want[name]) for name in want)
        assert shared


async def test_the_asynchronous_twin(
    address: str, plain: hookwire.RemoteModel, shared: list[int]
) -> None:
    want, want_cache = plain.run_with_cache(TEXTS)
    async with await aio.connect(address, tensors="numpy", quiet=True) as twin:
        for _ in range(2):
            logits, cache = await twin.run_with_cache(TEXTS)
            assert same(logits, want)
            assert all(same(cache[name], want_cache[name]) for name in want_cache)
        async with twin.stream(TEXTS) as stream:
            await anext(stream)
        assert same(await twin(TEXTS), want)
    assert shared
    shared.clear()
    async with await aio.connect(
        address, tensors="numpy", quiet=True, shared_memory=False
    ) as without:
        assert same((await without.run_with_cache(TEXTS))[0], want)
    assert not shared


def test_a_larger_result_than_the_limit_comes_in_messages(shared: list[int]) -> None:
    with (
        daemon("--shared-memory-mb", "4") as address,
        hookwire.connect(address, tensors="numpy", quiet=True) as model,
    ):
        small, large = TEXTS[:3], TEXTS
        assert model.plan(large).total_bytes > 4 * 2**20 > model.plan(small).total_bytes
        model.run_with_cache(large)
        assert not shared
        model.run_with_cache(small)
        assert shared


def test_it_can_be_turned_off(shared: list[int]) -> None:
    with (
        daemon("--shared-memory-mb", "0") as address,
        hookwire.connect(address, tensors="numpy", quiet=True) as model,
    ):
        assert "shared_memory" not in model.server.capabilities
        model.run_with_cache(TEXTS)
    assert not shared


@pytest.mark.parametrize("token", [b"0123456789abcdef", b"short", b"x" * 1000])
def test_a_token_that_nobody_has_is_no_error(model: hookwire.RemoteModel, token: bytes) -> None:
    spec = run_pb2.RunSpec(shared_memory_token=token)
    spec.sequences.add(token_ids=[2] * 100)
    spec.captures.add(hook="**")
    model._connection.shared_memory.close()
    accepted, *events = model._connection.run(service_pb2.RunRequest(spec=spec), None)
    assert isinstance(accepted, service_pb2.Accepted)
    assert not accepted.shared_memory
    chunks = [chunk for event in events if isinstance(event, list) for chunk in event]
    assert not any(chunk.shared for chunk in chunks)
    assert sum(len(chunk.data) for chunk in chunks) == accepted.plan.total_bytes > 2**18


def test_a_server_that_was_started_again(tmp_path: Path, shared: list[int]) -> None:
    where = ("--listen", f"unix:{tmp_path}/socket")
    with daemon(*where) as address:
        model = hookwire.connect(address, tensors="numpy", quiet=True)
        want, _ = model.run_with_cache(TEXTS)
        assert shared
    shared.clear()
    with daemon(*where), model:
        assert same(model.run_with_cache(TEXTS)[0], want)
        assert shared, "the server that is there now shares too"
        (segment,) = model._connection.shared_memory._free
        assert segment.alive(), "memory of a server that is gone"


def segment_of(model: hookwire.RemoteModel) -> Segment:
    """A segment of its own, of the model's server."""
    segment = model._connection.shared_memory.connect()
    assert segment is not None
    return segment


def daemon_of(segment: Segment) -> int:
    """The process that has shared a segment."""
    credentials = segment._connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


def memory_files(pid: int) -> int:
    """How many descriptors and mappings of shared memory a process has."""
    names = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            names.append(str(fd.readlink()))
    names += Path(f"/proc/{pid}/maps").read_text().splitlines()
    return sum("memfd:hookwire" in name for name in names)


def test_the_memory_can_only_be_read(model: hookwire.RemoteModel) -> None:
    memory = segment_of(model)._memory
    assert memory.readonly
    with pytest.raises(TypeError):
        memory[0] = 1


CLIENT = """
import sys
import hookwire
model = hookwire.connect(sys.argv[1], tensors="numpy", quiet=True)
with model.stream([[2, 5, 7, 9] * 32] * 120, "**") as stream:
    next(stream)
    assert stream._run.assembly.plan is not None
    print("started", flush=True)
    sys.stdin.read()
"""


def test_a_client_that_is_killed_leaves_nothing(
    model: hookwire.RemoteModel, plain: hookwire.RemoteModel
) -> None:
    segment = segment_of(model)
    pid = daemon_of(segment)
    segment.close()
    model.close()
    assert eventually(lambda: memory_files(pid) == 0)
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, plain.server.address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdin is not None
    assert client.stdout is not None
    try:
        assert client.stdout.readline() == "started\n"
        assert memory_files(pid) > 0
    finally:
        client.send_signal(signal.SIGKILL)
        client.wait()
        client.stdin.close()
        client.stdout.close()
    assert eventually(lambda: memory_files(pid) == 0)
    plain(SHORT)


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "hookwired.sock"
    with daemon("--listen", f"unix:{path}", "--numerics", "reference") as address:
        assert address == f"unix:{path}"
        assert path.is_socket()
        with hookwire.connect(address, tensors="numpy", quiet=True) as model:
            assert model.server.address == address
            assert model(SHORT).shape[0] == 1
    assert not path.exists()
    with pytest.raises(hookwire.UnavailableError, match=re.escape(str(path))):
        hookwire.connect(address, timeout=10)


DROPPED = """
import copy, gc, pickle, sys, warnings
import hookwire
from hookwire import aio

texts = sys.argv[2:]

def blocking(change):
    model = hookwire.connect(sys.argv[1], tensors="numpy", quiet=True)
    model.run_with_cache(texts)
    other = change(model)
    other.run_with_cache(texts)
    assert model._connection.shared_memory._free and other._connection.shared_memory._free
    next(other.stream(texts))  # which is forgotten

async def asynchronous():
    model = await aio.connect(sys.argv[1], tensors="numpy", quiet=True)
    await model.run_with_cache(texts)
    assert model._connection.shared_memory._free

blocking(lambda model: model)
blocking(copy.deepcopy)
blocking(lambda model: pickle.loads(pickle.dumps(model)))
import asyncio
asyncio.run(asynchronous())
gc.collect()
kept = hookwire.connect(sys.argv[1], tensors="numpy", quiet=True)
kept.run_with_cache(texts)  # and is there when the interpreter ends
"""


def test_a_model_that_is_not_closed_leaves_no_socket(address: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "always", "-c", DROPPED, address, *TEXTS],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "unclosed <socket" not in ended.stderr, ended.stderr
