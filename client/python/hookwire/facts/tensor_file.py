"""Files of tensors: safetensors, with bfloat16 for NumPy too."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hookwire import errors
from hookwire.facts import dtypes
from hookwire.facts.dtypes import Array

SUFFIX = ".safetensors"

# The file's names of element types. The library's own reader for NumPy has no bfloat16.
_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": dtypes.BFLOAT16,
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("bool"),
}


def write(path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Writes tensors and metadata.

    Args:
        path: replaced in one step when all is written.
        tensors: by name; of any dtype of the wire.
        metadata: names and texts.

    Raises:
        FileError: the folder cannot be written to, the disk is full, or the like.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        whole = {name: np.require(value, requirements="C") for name, value in tensors.items()}
        save_file(whole, part, dict(metadata))
        part.replace(path)
    except (OSError, SafetensorError) as error:
        raise errors.FileError(f"{path} cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The tensors of a file, and its metadata.

    Raises:
        FileError: there is none, it cannot be read, or it is no whole safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with path.open("rb") as file:
            with safe_open(path, "numpy") as checked:
                metadata = checked.metadata() or {}
            begin = 8 + int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(begin - 8))
            header.pop("__metadata__", None)
            tensors = {}
            for name, entry in header.items():
                dtype = _DTYPES[entry["dtype"]]
                count = (entry["data_offsets"][1] - entry["data_offsets"][0]) // dtype.itemsize
                file.seek(begin + entry["data_offsets"][0])
                tensors[name] = np.fromfile(file, dtype, count).reshape(entry["shape"])
    except OSError as error:
        raise errors.FileError(f"{path} cannot be read: {error.strerror or error}") from error
    except (SafetensorError, KeyError) as error:
        raise errors.FileError(f"{path} is not a complete file of tensors: {error}") from error
    return tensors, metadata
