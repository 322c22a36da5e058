"""Reads the messages of a run, and those of a parameter, off the wire.

Nearly all bytes of a result are in `TensorChunk.data`, and those of a parameter in
`GetWeightResponse.data`. Protobuf's runtime would copy them twice before Python sees them, so
messages that hold little else are taken apart here, and the data are views of the received message.
Everything else, and whatever looks unfamiliar, goes to protobuf.
"""

from __future__ import annotations

from typing import NamedTuple

from hookwire._proto import run_pb2, service_pb2

# Keys of the fields on the wire: number << 3 | wire type.
_RESPONSE_TENSORS = 2 << 3 | 2
_CHUNKS_CHUNK = 1 << 3 | 2
_CHUNK_TENSOR = 1 << 3
_CHUNK_OFFSET = 2 << 3
_CHUNK_SHARED_BYTES = 3 << 3
_CHUNK_SHARED_OFFSET = 4 << 3
_CHUNK_DATA = 15 << 3 | 2
# Protobuf's runtime is faster with smaller messages: of many small tensors, or of tensors in shared
# memory.
_LARGE_BYTES = 64 << 10
_WEIGHT_HEADER = 1 << 3 | 2
_WEIGHT_OFFSET = 2 << 3
_WEIGHT_DATA = 15 << 3 | 2


class Chunk(NamedTuple):
    """Bytes [offset, offset + len(data)) of the tensor with this number in the plan.

    Instead of `data`, `shared` may say where in the memory that the server shares they lie.
    """

    tensor: int
    offset: int
    data: memoryview
    shared: range | None = None


class WeightPiece(NamedTuple):
    """Bytes [offset, offset + len(data)) of a parameter; in its first message, what it is."""

    header: service_pb2.WeightHeader | None
    offset: int
    data: memoryview


Event = list[Chunk] | service_pb2.Accepted | service_pb2.Progress | run_pb2.Receipt
"""What one message of a run says; no chunks for an event that this client does not know."""


class _UnfamiliarError(Exception):
    pass


def decode_event(message: bytes) -> Event:
    """One `RunResponse`."""
    if message[:1] == b"\x12" and len(message) >= _LARGE_BYTES:
        try:
            return _decode_chunks(message)
        except (_UnfamiliarError, IndexError):
            pass
    response = service_pb2.RunResponse.FromString(message)
    kind = response.WhichOneof("event")
    if kind == "tensors":
        chunks = response.tensors.chunks
        return [
            Chunk(
                chunk.tensor,
                chunk.offset,
                memoryview(chunk.data),
                _shared(chunk.shared_offset, chunk.shared_bytes),
            )
            for chunk in chunks
        ]
    if kind is None:
        return []
    event: Event = getattr(response, kind)
    return event


def _shared(offset: int, size: int) -> range | None:
    return range(offset, offset + size) if size else None


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where the next field begins."""
    byte = message[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = message[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
        if shift > 63:
            raise _UnfamiliarError


def _decode_chunks(message: bytes) -> list[Chunk]:
    if message[0] != _RESPONSE_TENSORS:
        raise _UnfamiliarError
    size, at = _varint(message, 1)
    end = len(message)
    if at + size != end:
        raise _UnfamiliarError
    view = memoryview(message)
    chunks = []
    while at < end:
        if message[at] != _CHUNKS_CHUNK:
            raise _UnfamiliarError
        size, at = _varint(message, at + 1)
        chunk_end = at + size
        if chunk_end > end:
            raise _UnfamiliarError
        tensor = offset = shared_bytes = shared_offset = 0
        data = view[:0]
        while at < chunk_end:
            key = message[at]
            if key == _CHUNK_TENSOR:
                tensor, at = _varint(message, at + 1)
            elif key == _CHUNK_OFFSET:
                offset, at = _varint(message, at + 1)
            elif key == _CHUNK_DATA:
                size, at = _varint(message, at + 1)
                data = view[at : at + size]
                at += size
            elif key == _CHUNK_SHARED_BYTES:
                shared_bytes, at = _varint(message, at + 1)
            elif key == _CHUNK_SHARED_OFFSET:
                shared_offset, at = _varint(message, at + 1)
            else:
                raise _UnfamiliarError
        if at != chunk_end:
            raise _UnfamiliarError
        chunks.append(Chunk(tensor, offset, data, _shared(shared_offset, shared_bytes)))
    return chunks


def decode_weight(message: bytes) -> WeightPiece:
    """One `GetWeightResponse`."""
    try:
        return _decode_weight(message)
    except (_UnfamiliarError, IndexError):
        response = service_pb2.GetWeightResponse.FromString(message)
        header = response.header if response.HasField("header") else None
        return WeightPiece(header, response.offset, memoryview(response.data))


def _decode_weight(message: bytes) -> WeightPiece:
    view = memoryview(message)
    header, offset, data = None, 0, view[:0]
    at, end = 0, len(message)
    while at < end:
        key = message[at]
        if key == _WEIGHT_OFFSET:
            offset, at = _varint(message, at + 1)
            continue
        if key not in (_WEIGHT_HEADER, _WEIGHT_DATA):
            raise _UnfamiliarError
        size, at = _varint(message, at + 1)
        if at + size > end:
            raise _UnfamiliarError
        if key == _WEIGHT_DATA:
            data = view[at : at + size]
        else:
            header = service_pb2.WeightHeader.FromString(message[at : at + size])
        at += size
    return WeightPiece(header, offset, data)
