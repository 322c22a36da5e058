"""A cache as a file: safetensors, with the receipt and what else makes a cache as metadata."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hookwire import errors
from hookwire.facts import config, dtypes, tensor_file
from hookwire.facts.dtypes import Array

MASK = "mask"
"""The tensor that says which positions are real."""


@dataclass(frozen=True)
class File:
    """What a file holds.

    Attributes:
        tensors: each distinct one once, by one of its keys; and the mask.
        keys: every key of the cache in its order, and the tensor it stands for.
        names: for each name of what was captured, all names of that hook point.
        batch: how many rows the run had.
        has_batch_dim: whether tensors have the batch in front.
        receipt: of the run.
        address: of the server.
        answer: what the server has said of itself and its model, as on the wire.
    """

    tensors: Mapping[str, Array]
    keys: Mapping[str, str]
    names: Mapping[str, list[str]] | None
    batch: int
    has_batch_dim: bool
    receipt: config.Receipt
    address: str
    answer: bytes


def write(path: Path, state: Mapping[str, Any], description: Mapping[str, Any]) -> None:
    """Writes a cache.

    Args:
        path: of the file.
        state: what makes the cache, but for its model.
        description: what makes the model.

    Raises:
        FileError: it cannot be written.
    """
    stored: dict[str, Array] = {MASK: dtypes.to_numpy(state["mask"])}
    keys: dict[str, str] = {}
    by_memory: dict[Any, str] = {}
    for key, tensor in state["tensors"].items():
        # Names of one hook point share a tensor.
        memory = (_address(tensor), tuple(tensor.shape), str(tensor.dtype))
        keys[key] = by_memory.setdefault(memory, key)
        if keys[key] == key:
            stored[key] = dtypes.to_numpy(tensor)
    cache = {
        "keys": keys,
        "names": state["names"],
        "batch": state["batch"],
        "has_batch_dim": state["has_batch_dim"],
        "address": description["address"],
        "answer": base64.b64encode(description["answer"]).decode(),
    }
    metadata = {"receipt": json.dumps(asdict(state["receipt"])), "cache": json.dumps(cache)}
    tensor_file.write(path, stored, metadata)


def _address(tensor: Any) -> int:
    if dtypes.is_torch(tensor):
        return int(tensor.data_ptr())
    return int(tensor.__array_interface__["data"][0])


def read(path: Path) -> File:
    """What `write` has written.

    Raises:
        FileError: there is no such file, or another program has written it.
    """
    tensors, metadata = tensor_file.read(path)
    if "cache" not in metadata:
        raise errors.FileError(
            f"{path} holds tensors, but cache.save has not written it: safetensors reads it"
        )
    try:
        receipt = json.loads(metadata["receipt"])
        receipt["non_finite"] = tuple(config.NonFinite(**one) for one in receipt["non_finite"])
        cache = json.loads(metadata["cache"])
        cache["answer"] = base64.b64decode(cache["answer"])
        file = File(tensors=tensors, receipt=config.Receipt(**receipt), **cache)
        lacking = {MASK, *file.keys.values()} - tensors.keys()
    except (KeyError, TypeError, ValueError) as error:
        raise errors.FileError(
            f"{path} is not what this version's cache.save writes: {error}"
        ) from error
    if lacking:
        raise errors.FileError(f"{path} lacks the tensors {', '.join(sorted(lacking))}")
    return file
