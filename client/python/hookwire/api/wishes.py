"""What `connect` was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hookwire.facts import dtypes
from hookwire.weights import DiskCache


@dataclass(frozen=True)
class Wishes:
    """What `connect` was asked for, besides the address.

    Attributes:
        tensors: as in `hookwire.connect`.
        quiet: as there.
        disk: where weights are kept; None: nowhere.
        shared_memory: as there.
        tokenizer: what is set on the tokenizer once it is loaded (`Tokenizer.changes`).
    """

    tensors: dtypes.Tensors = "auto"
    quiet: bool = True
    disk: DiskCache | None = None
    shared_memory: bool = True
    tokenizer: Mapping[str, Any] = field(default_factory=dict)
