"""Messages read by hand say what protobuf says they say."""

from __future__ import annotations

import random

import pytest
from hookwire import wire
from hookwire._proto import run_pb2, service_pb2


def _response(rng: random.Random) -> service_pb2.RunResponse:
    response = service_pb2.RunResponse()
    for _ in range(rng.randrange(1, 5)):
        response.tensors.chunks.add(
            tensor=rng.choice([0, 1, 127, 128, 2**32 - 1]),
            offset=rng.choice([0, 5, 2**21, 2**40, 2**64 - 1]),
            data=rng.randbytes(rng.choice([0, 1, 127, 128, 20_000])),
        )
    return response


@pytest.mark.parametrize("seed", range(40))
def test_chunks(seed: int) -> None:
    response = _response(random.Random(seed))
    event = wire.decode_event(response.SerializeToString())
    assert [(c.tensor, c.offset, bytes(c.data)) for c in event] == [
        (c.tensor, c.offset, c.data) for c in response.tensors.chunks
    ]


def test_data_are_not_copied() -> None:
    response = service_pb2.RunResponse()
    response.tensors.chunks.add(tensor=1, data=b"x" * 1000)
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
