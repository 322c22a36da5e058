"""Messages read by hand say what protobuf says they say."""

from __future__ import annotations

import random

import pytest
from hookwire._proto import run_pb2, service_pb2
from hookwire.wire import decode as wire


@pytest.fixture(autouse=True, params=[0, wire._LARGE_BYTES], ids=["by hand", "as they come"])
def _large_bytes(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Messages from so many bytes on are read by hand."""
    monkeypatch.setattr(wire, "_LARGE_BYTES", request.param)


def _response(rng: random.Random) -> service_pb2.RunResponse:
    response = service_pb2.RunResponse()
    for _ in range(rng.randrange(1, 5)):
        chunk = response.tensors.chunks.add(
            tensor=rng.choice([0, 1, 127, 128, 2**32 - 1]),
            offset=rng.choice([0, 5, 2**21, 2**40, 2**64 - 1]),
        )
        if rng.random() < 0.5:
            chunk.data = rng.randbytes(rng.choice([0, 1, 127, 128, 20_000]))
        else:
            chunk.shared_bytes = rng.choice([1, 127, 128, 2**21, 2**40])
            chunk.shared_offset = rng.choice([0, 64, 2**14, 2**40])
    return response


def _shared(chunk: service_pb2.TensorChunk) -> range | None:
    end = chunk.shared_offset + chunk.shared_bytes
    return range(chunk.shared_offset, end) if chunk.shared_bytes else None


@pytest.mark.parametrize("seed", range(40))
def test_chunks(seed: int) -> None:
    response = _response(random.Random(seed))
    expected = [(c.tensor, c.offset, c.data, _shared(c)) for c in response.tensors.chunks]
    message = response.SerializeToString()
    # By hand, and, with a field that this client does not know behind it, by protobuf.
    for read in (message, message + b"\xfa\x07\x01x"):
        event = wire.decode_event(read)
        assert [(c.tensor, c.offset, bytes(c.data), c.shared) for c in event] == expected


def test_large_data_are_not_copied() -> None:
    response = service_pb2.RunResponse()
    response.tensors.chunks.add(tensor=1, data=b"x" * 100_000)
    message = response.SerializeToString()
    (chunk,) = wire.decode_event(message)
    assert chunk.data.obj is message


@pytest.mark.parametrize(
    "tail",
    [
        b"\x1a\x00",  # an empty `progress` behind the chunks: the last one of a oneof counts
        b"\xfa\x07\x01x",  # a field that this client does not know
    ],
)
def test_unfamiliar_messages_go_to_protobuf(tail: bytes) -> None:
    response = service_pb2.RunResponse()
    response.tensors.chunks.add(tensor=1, offset=2, data=b"abc")
    message = response.SerializeToString() + tail
    parsed = service_pb2.RunResponse.FromString(message)
    event = wire.decode_event(message)
    if parsed.WhichOneof("event") == "progress":
        assert isinstance(event, service_pb2.Progress)
    else:
        assert [(c.tensor, c.offset, bytes(c.data)) for c in event] == [(1, 2, b"abc")]


def test_unknown_fields_inside_a_chunk() -> None:
    chunk = service_pb2.TensorChunk(tensor=1, data=b"abc").SerializeToString() + b"\xfa\x07\x01x"
    chunks = b"\x0a" + bytes([len(chunk)]) + chunk
    (read,) = wire.decode_event(b"\x12" + bytes([len(chunks)]) + chunks)
    assert (read.tensor, bytes(read.data)) == (1, b"abc")


def test_other_events() -> None:
    receipt = run_pb2.Receipt(run_id="x")
    assert (
        wire.decode_event(service_pb2.RunResponse(receipt=receipt).SerializeToString()) == receipt
    )
    accepted = service_pb2.Accepted(run_id="y")
    assert (
        wire.decode_event(service_pb2.RunResponse(accepted=accepted).SerializeToString())
        == accepted
    )
    assert wire.decode_event(b"") == []


@pytest.mark.parametrize("size", range(1, 12))
def test_truncated_messages_raise(size: int) -> None:
    response = service_pb2.RunResponse()
    response.tensors.chunks.add(tensor=300, offset=2, data=b"abc")
    message = response.SerializeToString()
    assert size < len(message)
    with pytest.raises(Exception, match=r"[Pp]ars"):
        wire.decode_event(message[:size])
