"""Parameters off the wire."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from hookwire import errors
from hookwire._proto import service_pb2, tensor_pb2
from hookwire.facts import dtypes
from hookwire.facts.dtypes import Array
from hookwire.wire.decode import WeightPiece


class Fetched(NamedTuple):
    """A parameter, or some of its rows, off the wire."""

    array: Array
    digest: str


def request(
    name: str, rows: Sequence[int] | None, load_id: str = ""
) -> service_pb2.GetWeightRequest:
    """What asks for a parameter, or for some of its rows, of a load; empty: of whichever it is."""
    made = service_pb2.GetWeightRequest(name=name, load_id=load_id)
    if rows is not None:
        made.rows.CopyFrom(tensor_pb2.Selection(indices=tensor_pb2.Indices(values=rows)))
    return made


def join(pieces: Iterable[WeightPiece]) -> Fetched:
    """The parameter out of the messages that `GetWeight` sends.

    Raises:
        IncompleteResultError: they do not add up to what the header says.
    """
    header = service_pb2.WeightHeader()
    buffer = np.empty(0, np.uint8)
    filled = 0
    for piece in pieces:
        if piece.header is not None:
            header = piece.header
            buffer = np.empty(header.bytes, np.uint8)
        end = filled + len(piece.data)
        if piece.offset != filled or end > len(buffer):
            raise errors.IncompleteResultError(f"the pieces of {header.name} do not fit together")
        buffer[filled:end] = np.frombuffer(piece.data, np.uint8)
        filled = end
    dtype = dtypes.NUMPY.get(header.dtype)
    if dtype is None or filled != len(buffer) or not header.shape:
        raise errors.IncompleteResultError(
            f"the server sent {filled} of {len(buffer)} bytes of {header.name or 'a parameter'}"
        )
    try:
        array = buffer.view(dtype).reshape(tuple(header.shape))
    except ValueError as error:
        raise errors.IncompleteResultError(f"{header.name}: {error}") from None
    return Fetched(array, header.weights_digest)
