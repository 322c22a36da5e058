"""An answer that is not whole is an error, never a result."""

from __future__ import annotations

import hookwire
import numpy as np
import pytest

from tests.client.fake_server import FakeServer

TOKENS = [[3, 1, 4, 1, 5], [9, 2, 6]]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no receipt", "without a receipt"),
        ("lost tensor", "incomplete"),
        ("lost chunk", "incomplete"),
        ("wrong offset", "had come"),
        ("wrong receipt", "receipt names"),
        ("wrong total", "announces"),
        ("silent row", "without row 1"),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [8, 1 << 20])
def test_partial_answers(
    model: hookwire.RemoteModel, server: FakeServer, fault: str, message: str, chunk_bytes: int
) -> None:
    server.faults, server.chunk_bytes = {fault}, chunk_bytes
    with pytest.raises(hookwire.IncompleteResultError, match=message):
        model.run_with_cache(TOKENS)
    with pytest.raises(hookwire.IncompleteResultError, match=message):
        list(model.stream(TOKENS))
    assert model.last_receipt is None
    server.faults = set()
    model.run_with_cache(TOKENS)


def test_a_status_at_the_end(model: hookwire.RemoteModel, server: FakeServer) -> None:
    server.faults = {"status"}
    with pytest.raises(hookwire.InternalServerError, match="it broke"):
        model(TOKENS)


def test_a_partial_tokenizer(model: hookwire.RemoteModel, server: FakeServer) -> None:
    server.faults = {"short file"}
    with pytest.raises(hookwire.IncompleteResultError, match=r"100 of \d+ bytes of tokenizer.json"):
        model.to_tokens("a")


def test_tensors_come_before_the_run_ends(model: hookwire.RemoteModel, server: FakeServer) -> None:
    server.faults = {"stall"}
    stream = model.stream([TOKENS[0]], ["hook_embed", "blocks.0.hook_in"])
    name, tensor = next(stream)
    assert name == "embed.hook_out"
    assert tensor.shape == (1, 5, 4)
    assert stream.run_id == "run-1"
    assert stream.receipt is None
    assert not server.go.is_set()  # the server is still waiting
    server.go.set()
    (second,) = list(stream)
    assert second.names == ("blocks.0.hook_in",)
    assert stream.receipt.tensors == 2


def test_a_stream_has_what_the_cache_has(model: hookwire.RemoteModel, server: FakeServer) -> None:
    server.faults, server.chunk_bytes = {"interleave"}, 16
    logits, cache = model.run_with_cache(TOKENS)
    seen = {}
    for activation in model.stream(TOKENS, return_type="logits"):
        for name in activation.names:
            seen[name] = activation.tensor
    assert np.array_equal(seen.pop("logits"), logits)
    assert seen.keys() == cache.keys()
    assert all(np.array_equal(seen[name], cache[name]) for name in cache)


@pytest.mark.parametrize("end", ["close", "with", "forget"])
def test_ending_a_stream_cancels_the_run(
    model: hookwire.RemoteModel, server: FakeServer, end: str
) -> None:
    server.faults = {"stall"}
    stream = model.stream([TOKENS[0]])
    next(stream)
    assert not server.cancelled.is_set()
    if end == "close":
        stream.close()
    elif end == "with":
        with stream:
            pass
    else:
        del stream
    assert server.cancelled.wait(5)
    server.go.set()
    model(TOKENS)


def test_a_deadline(model: hookwire.RemoteModel, server: FakeServer) -> None:
    server.faults = {"stall"}
    with pytest.raises(hookwire.DeadlineError) as caught:
        model(TOKENS, timeout=0.2)
    assert isinstance(caught.value, TimeoutError)


def test_closing_ends_runs(model: hookwire.RemoteModel, server: FakeServer) -> None:
    server.faults = {"stall"}
    stream = model.stream([TOKENS[0]])
    next(stream)
    model.close()
    with pytest.raises(hookwire.CancelledError):
        next(stream)
