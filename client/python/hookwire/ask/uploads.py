"""Values that do not fit into a request: they travel after it, in messages of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hookwire import errors
from hookwire._proto import run_pb2, service_pb2, tensor_pb2

# For what wraps the run, and the name of the shared memory that its result may come through.
_ROOM = 64
# What a value that travels by itself leaves behind in the request: its dtype, shape and number.
_LEFT_BEHIND = 64


def take_out(spec: run_pb2.RunSpec, limit: int) -> list[bytes]:
    """Makes a request that is too large fit: takes values out of it, the largest first.

    Args:
        spec: the run. A value that is taken out leaves its dtype, shape and number behind.
        limit: bytes of a request that the server takes; 0: any.

    Returns:
        The values that were taken out, by their number.

    Raises:
        RequestTooLargeError: the request is too large without its values too.
    """
    size = spec.ByteSize() + _ROOM
    if not limit or size <= limit:
        return []
    values = [value for value in _values(spec) if len(value.tensor.data) > _LEFT_BEHIND]
    by_size = sorted(range(len(values)), key=lambda at: len(values[at].tensor.data), reverse=True)
    chosen: list[int] = []
    for at in by_size:
        if size <= limit:
            break
        chosen.append(at)
        size -= len(values[at].tensor.data) - _LEFT_BEHIND
    uploads: list[bytes] = []
    for at in sorted(chosen):  # numbered in the order of the interventions
        tensor = values[at].tensor
        upload = tensor_pb2.UploadedValue(
            dtype=tensor.dtype, shape=tensor.shape, upload=len(uploads)
        )
        uploads.append(tensor.data)
        values[at].upload.CopyFrom(upload)
    size = spec.ByteSize() + _ROOM
    if size > limit:
        raise _too_large(spec, size, limit)
    return uploads


def without_values(spec: run_pb2.RunSpec) -> run_pb2.RunSpec:
    """The run for a plan, which takes no uploads: a number stands in for each uploaded value."""
    made = run_pb2.RunSpec()
    made.CopyFrom(spec)
    for value in _values(made):
        if value.HasField("upload"):
            value.scalar = 0.0
    return made


def pack(uploads: Sequence[bytes], most: int) -> Iterator[service_pb2.TensorChunks]:
    """The uploads, in messages with a payload of at most `most` bytes; small ones share one."""
    chunks, room = service_pb2.TensorChunks(), most
    for number, data in enumerate(uploads):
        offset = 0
        while offset < len(data):
            piece = data[offset : offset + room]
            chunks.chunks.add(tensor=number, offset=offset, data=piece)
            offset += len(piece)
            room -= len(piece)
            if not room:
                yield chunks
                chunks, room = service_pb2.TensorChunks(), most
    if chunks.chunks:
        yield chunks


def _values(spec: run_pb2.RunSpec) -> Iterator[tensor_pb2.Value]:
    for item in spec.interventions:
        op = item.WhichOneof("op")
        if op in ("set", "add"):
            yield getattr(item, op).value
        elif op == "scale":
            yield item.scale.factor


def _too_large(spec: run_pb2.RunSpec, size: int, limit: int) -> errors.RequestTooLargeError:
    """Says what the bytes are of."""
    tokens = sum(len(row.token_ids) for row in spec.sequences)
    parts: dict[str, Iterable[Any]] = {
        f"{tokens:,} tokens in {len(spec.sequences):,} rows": spec.sequences,
        f"{len(spec.captures):,} captures, by row and hook point": spec.captures,
        f"{len(spec.interventions):,} changes, by row and hook point": spec.interventions,
        "the targets of log_probs": spec.outputs.log_probs.targets,
    }
    sizes = {name: sum(part.ByteSize() for part in several) for name, several in parts.items()}
    said = [f"{name}: {taken:,}" for name, taken in sizes.items() if taken]
    return errors.RequestTooLargeError(
        f"the request has {size:,} bytes, its large values not counted ({'; '.join(said)}); the "
        f"server takes {limit:,} in one request: run fewer rows at a time, or ask for fewer hook "
        "points",
        metadata={"bytes": str(size), "limit": str(limit)},
    )
