"""What a run is to return besides captures: logits, log-probabilities, the residual stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hookwire import errors
from hookwire._proto import run_pb2
from hookwire.ask import placement
from hookwire.ask.asked import Ask, Targets
from hookwire.ask.inputs import Batch
from hookwire.errors import wording
from hookwire.facts import selection
from hookwire.facts.ids import token_ids

_TARGETS = "token ids, or strings that are one token"


def write(
    spec: run_pb2.RunSpec, ask: Ask, batch: Batch, stop: int | None
) -> dict[str, placement.Placement]:
    """Adds the outputs; says where their parts belong."""
    placements: dict[str, placement.Placement] = {}
    if stop is not None and ask.return_type is not None:
        if ask.logits_pos is not None:
            raise errors.ArgumentError(
                "logits_pos needs logits, and stop_at_layer ends the pass before them"
            )
        spec.outputs.residual = True
        placements["residual"] = placement.everything(batch)
        return placements
    if ask.return_type in ("logits", "both"):
        spec.outputs.logits.SetInParent()
        chosen = selection.index(ask.logits_pos, "logits_pos")
        if chosen is None:
            placements["logits"] = placement.everything(batch)
        else:
            shortest = min(map(len, batch.rows))
            places = selection.resolve(chosen, shortest, "logits_pos")
            if isinstance(chosen, selection.Span) and len(set(map(len, batch.rows))) > 1:
                raise errors.ArgumentError(
                    "logits_pos must be ints where rows have different lengths"
                )
            selection.write(spec.outputs.logits.positions, chosen)
            placements["logits"] = placement.dense(batch, len(places))
    if ask.targets is not None:
        log_probs = spec.outputs.log_probs
        for ids, positions in zip(ask.targets.ids, ask.targets.positions, strict=True):
            log_probs.targets.add(positions=positions, token_ids=ids)
        placements["log_probs"] = placement.dense(batch, len(ask.targets.ids[0]))
    elif ask.wants_log_probs or ask.return_type in ("loss", "both"):
        _check_next_tokens(batch, "log_probs" if ask.wants_log_probs else "the loss")
        spec.outputs.log_probs.SetInParent()
        placements["log_probs"] = placement.next_tokens(batch)
    return placements


def _check_next_tokens(batch: Batch, what: str) -> None:
    """Checks that rows have next tokens to predict: that they have two tokens or more.

    Raises:
        NothingToPredictError: no row has.

    Warns:
        NothingToPredictWarning: some have not.
    """
    short = [number for number, row in enumerate(batch.rows) if len(row) < 2]
    if not short:
        return
    if len(short) == len(batch):
        rows = "the input has" if len(batch) == 1 else f"each of the {len(batch)} rows has"
        raise errors.NothingToPredictError(
            f"{what} is that of each next token, and {rows} a single token, with none after it: "
            "give at least two (an empty text is the beginning-of-sequence token alone)"
        )
    shown = ", ".join(map(str, short[:5])) + (" and others" if len(short) > 5 else "")
    errors.warn(
        f"row{'s' if len(short) > 1 else ''} {shown} of the input: a single token, after which "
        f"there is none to predict. {what} is that of the other rows; where it is given by token, "
        "there are zeros",
        errors.NothingToPredictWarning,
    )


def targets(given: Any, pos: Any, batch: Batch, to_single_token: Callable[[str], int]) -> Targets:
    """Target tokens of each row.

    Args:
        given: a token (an id or a string), a list of tokens for every row, or a list of such lists,
            one a row, of equal lengths.
        pos: the position at which they are predicted, or one for each of them.
        batch: the input.
        to_single_token: for strings.

    Raises:
        ArgumentTypeError: no tokens, or no positions.
        ArgumentError: lengths that do not fit.
        TokenOutOfRangeError: an id below 0 or over 32 bits (the server checks the rest).
        PositionOutOfRangeError: a row is too short.
    """
    if isinstance(given, str) or not hasattr(given, "__len__") or getattr(given, "ndim", 1) == 0:
        given = [given]
    elif not isinstance(given, (list, tuple)):
        given = token_ids(given, "targets", _TARGETS).tolist()
    if not given:
        raise errors.ArgumentError("targets is empty: give at least one token, or leave it out")
    nested = [isinstance(item, (list, tuple)) for item in given]
    per_row = list(given) if nested and all(nested) else [list(given)] * len(batch)
    if len(per_row) != len(batch) or len(set(map(len, per_row))) != 1 or not per_row[0]:
        lists = "one list" if len(batch) == 1 else f"{len(batch)} lists of as many tokens each"
        raise errors.ArgumentError(
            f"targets must be tokens for every row, or, one for each row, {lists}"
        )
    ids = [[_target(item, to_single_token) for item in row] for row in per_row]
    token_ids(ids, "targets")
    count = len(ids[0])
    has_many = getattr(pos, "ndim", 1) and hasattr(pos, "__len__") and not isinstance(pos, str)
    places = [
        selection.integer(place, "pos", "an int, or one for each target")
        for place in (pos if has_many else [pos] * count)
    ]
    if len(places) != count:
        raise errors.ArgumentError(
            f"pos has {wording.counted(len(places), 'position')} for "
            f"{wording.counted(count, 'target')}"
        )
    for row in batch.rows:
        selection.resolve(tuple(dict.fromkeys(places)), len(row), "pos")
    return Targets(ids, [places] * len(batch))


def _target(item: Any, to_single_token: Callable[[str], int]) -> int:
    if isinstance(item, str):
        return to_single_token(item)
    return selection.integer(item, "targets", _TARGETS)
