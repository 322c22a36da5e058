"""What a user asks of one run, before it is a message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hookwire import errors
from hookwire._proto import run_pb2
from hookwire.ask.filters import NamesFilter
from hookwire.facts import selection

RETURN_TYPES = ("logits", "loss", "both", None)
PRIORITIES = {
    "low": run_pb2.PRIORITY_LOW,
    "normal": run_pb2.PRIORITY_NORMAL,
    "high": run_pb2.PRIORITY_HIGH,
}


@dataclass(frozen=True)
class Targets:
    """Target tokens of `log_probs`: for each row, ids and the positions (of its own tokens)."""

    ids: Sequence[Sequence[int]]
    positions: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Ask:
    """What a user asks of one run. See `RemoteModel.run_with_cache` for the fields.

    The first `n_standing` of the hooks are not those of the run itself.
    """

    names_filter: NamesFilter = ()
    hooks: Sequence[tuple[Any, Any]] = ()
    n_standing: int = 0
    pos_slice: Any = None
    stop_at_layer: int | None = None
    start_at_layer: int | None = None
    return_type: str | None = None
    loss_per_token: bool = False
    logits_pos: Any = None
    targets: Targets | None = None
    wants_log_probs: bool = False
    missing: str = "error"
    allow_non_finite: bool = False
    max_result_bytes: int | None = None
    priority: str = "normal"
    dtype: Any = None
    moment: str = "after"


def check(ask: Ask) -> None:
    """Checks what can be checked without the input and the model.

    Raises:
        ArgumentError: a value that an argument cannot have, or one that contradicts another.
        ArgumentTypeError: a value of another kind.
        BadSelectionError: a number of more than 64 bits.
    """
    selection.one_of(ask.return_type, RETURN_TYPES, "return_type")
    selection.one_of(ask.missing, ("error", "skip"), "missing")
    selection.one_of(ask.moment, ("after", "before"), "moment")
    selection.one_of(ask.priority, tuple(PRIORITIES), "priority")
    if not isinstance(ask.allow_non_finite, bool):
        raise errors.ArgumentTypeError(
            f"allow_non_finite must be a bool, not {ask.allow_non_finite!r}"
        )
    if ask.max_result_bytes is not None:
        limit = selection.integer(ask.max_result_bytes, "max_result_bytes", "an int or None")
        if limit < 1:
            raise errors.ArgumentError(f"max_result_bytes must be at least 1, not {limit}")
    if ask.stop_at_layer is not None and ask.return_type in ("loss", "both"):
        raise errors.ArgumentError(
            f"return_type={ask.return_type!r} needs the whole pass, but stop_at_layer="
            f"{ask.stop_at_layer} ends it earlier"
        )
    if ask.loss_per_token and ask.return_type not in ("loss", "both"):
        raise errors.ArgumentError(
            f"loss_per_token needs a loss, and return_type is {ask.return_type!r}"
        )
    if ask.logits_pos is not None and ask.return_type not in ("logits", "both"):
        raise errors.ArgumentError(
            f"logits_pos needs logits, and return_type is {ask.return_type!r}"
        )
