"""From what a user asks to a `RunSpec`, and from its result to what the user gets.

No input or output happens here: the blocking and the asynchronous model share all of it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from hookwire import (
    dtypes,
    errors,
    filters,
    inputs,
    interventions,
    placement,
    reach,
    results,
    selection,
    uploads,
    wording,
)
from hookwire._proto import run_pb2, service_pb2
from hookwire.catalogue import Catalogue, is_place, name_for
from hookwire.dtypes import Array
from hookwire.hooks import Callback
from hookwire.inputs import Batch

_TARGETS = "token ids, or strings that are one token"
RETURN_TYPES = ("logits", "loss", "both", None)
_PRIORITIES = {
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

    names_filter: filters.NamesFilter = ()
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


@dataclass(frozen=True)
class Request:
    """A run, ready to be sent.

    Attributes:
        message: for the wire.
        ask: what it was made from.
        batch: the input.
        places: where the parts of the result belong.
        names: for hook points of which only some names are to be returned: these.
        columns: the padded positions that were captured; None for all.
        functions: hooks that run here, by their number among the run's interventions.
        uploads: values that did not fit into the message, by their number.
        origins: of each of the run's interventions, which of the ask's hooks it comes from.
        catalogue: gives the hook points.
    """

    message: service_pb2.RunRequest
    ask: Ask
    batch: Batch
    places: results.Places
    names: dict[str, list[str]]
    columns: list[int] | None
    functions: dict[int, Callback]
    uploads: list[bytes]
    origins: list[int]
    catalogue: Callable[[], Catalogue]

    @property
    def interacts(self) -> bool:
        """Whether the client has more to send than the message."""
        return bool(self.functions or self.uploads)

    @contextmanager
    def blaming(self) -> Iterator[None]:
        """Adds to errors of the server which of the user's hooks is to blame."""
        try:
            yield
        except errors.HookwireError as error:
            self._put_names(error)
            number = wording.intervention_of(error.field)
            is_of_another_run = "fwd_hook" in error.metadata  # that a function has made
            if number is not None and number < len(self.origins) and not is_of_another_run:
                error.metadata["fwd_hook"] = str(self.origins[number] - self.ask.n_standing)
                error.set_message(f"{error.message} ({self._hook(self.origins[number])})")
            raise

    def _put_names(self, error: errors.HookwireError) -> None:
        """Has an error of the server name the hook point as the user does."""
        named = wording.entry_of(error.field)
        if named is None and error.reason == errors.ResultTooLargeError.default_reason:
            for hook in dict.fromkeys(re.findall(r"[\w.]+\.\w+", error.message)):
                error.rename(hook, self.captured_as(hook))
        if named is None or error.hook is None:
            return
        kind, number = named
        entries: Any = getattr(self.message.spec, kind)
        if number >= len(entries):
            return
        given: Any = self.ask.names_filter
        if kind == "interventions":
            given = self.ask.hooks[self.origins[number]][0]
        error.rename(error.hook, self._users_name(error.hook, given, [entries[number].hook]))

    def captured_as(self, hook: str) -> str:
        """The name under which the user asked for the hook point with this canonical name."""
        asked = [capture.hook for capture in self.message.spec.captures]
        return self._users_name(hook, self.ask.names_filter, asked)

    def _users_name(self, hook: str, given: Any, asked: Sequence[str]) -> str:
        users = [given] if is_place(given) else given
        names = [*users, *asked] if isinstance(users, (list, tuple)) else asked
        with contextlib.suppress(errors.HookwireError):  # the catalogue cannot be had any more
            point = self.catalogue().get(hook)
            if point is not None and point.name == hook:
                return name_for(point, names)
        return hook

    def _hook(self, number: int) -> str:
        where, what = self.ask.hooks[number]
        own = number - self.ask.n_standing
        which = f"fwd_hooks[{own}]" if own >= 0 else "a hook that stays"
        return f"{which}: {dtypes.shown(where)}, {what!r}"

    def plan_message(self) -> service_pb2.PlanRequest:
        """The same run, to be planned and not executed."""
        spec = self.message.spec
        return service_pb2.PlanRequest(spec=uploads.without_values(spec) if self.uploads else spec)


def build(
    ask: Ask,
    batch: Batch,
    *,
    n_layers: int,
    max_request_bytes: int,
    catalogue: Callable[[], Catalogue],
    load_id: str = "",
) -> Request:
    """Makes the run.

    Args:
        ask: what the user asks.
        batch: the input.
        n_layers: of the model.
        max_request_bytes: the server's limit; 0: none.
        catalogue: gives the catalogue, where it is needed.
        load_id: of the load that the run is meant for; empty: whatever the server holds.

    Raises:
        HookwireError: the request cannot be right; the server finds the rest.
        ArgumentError: arguments that contradict each other.
    """
    _check(ask)
    stop = reach.stop(ask.stop_at_layer, n_layers)
    if ask.start_at_layer is not None and stop is not None and stop <= ask.start_at_layer:
        raise errors.ArgumentError(
            f"a run that starts at layer {ask.start_at_layer} cannot stop before layer {stop}"
        )
    message = service_pb2.RunRequest()
    spec = message.spec
    spec.load_id = load_id
    for row in batch.rows:
        spec.sequences.add(token_ids=row)
    if stop is not None:
        spec.stop_at_layer = stop
    spec.allow_non_finite = ask.allow_non_finite
    if ask.max_result_bytes is not None:
        spec.max_result_bytes = ask.max_result_bytes
    if ask.priority != "normal":
        spec.priority = _PRIORITIES[ask.priority]

    within = reach.Reach(catalogue, ask.start_at_layer, stop, ask.moment)
    wanted = filters.resolve(ask.names_filter, within, has_dtype=ask.dtype is not None)
    selected = placement.select(batch, ask.pos_slice)
    _write_captures(spec, wanted, selected, ask)
    functions, origins = interventions.write(spec, ask.hooks, batch, within)
    outputs = _write_outputs(spec, ask, batch, stop)
    taken_out = uploads.take_out(spec, max_request_bytes)
    places = results.Places(
        batch=len(batch),
        keys=placement.everything(batch),
        captures=selected.placement,
        outputs=outputs,
        hooks=() if ask.missing == "skip" else tuple(capture.hook for capture in spec.captures),
    )
    return Request(
        message,
        ask,
        batch,
        places,
        wanted.names,
        selected.columns,
        functions,
        taken_out,
        origins,
        catalogue,
    )


def _check(ask: Ask) -> None:
    selection.one_of(ask.return_type, RETURN_TYPES, "return_type")
    selection.one_of(ask.missing, ("error", "skip"), "missing")
    selection.one_of(ask.moment, ("after", "before"), "moment")
    selection.one_of(ask.priority, tuple(_PRIORITIES), "priority")
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
            f"loss_per_token has no loss to show by token: return_type={ask.return_type!r}"
        )
    if ask.logits_pos is not None and ask.return_type not in ("logits", "both"):
        raise errors.ArgumentError(
            f"logits_pos has no logits to choose from: return_type={ask.return_type!r}"
        )


def _write_captures(
    spec: run_pb2.RunSpec, wanted: filters.Wanted, selected: placement.Selected, ask: Ask
) -> None:
    chosen = dtypes.number(ask.dtype)
    missing = run_pb2.MISSING_SKIP if ask.missing == "skip" else run_pb2.MISSING_UNSPECIFIED
    moment = run_pb2.MOMENT_BEFORE if ask.moment == "before" else run_pb2.MOMENT_UNSPECIFIED
    # Rows with the same positions share a message; those with none are not asked.
    choices: dict[tuple[int, ...] | None, list[int]] = {}
    for row, local in enumerate(selected.local):
        if local != ():
            choices.setdefault(local, []).append(row)
    for local, rows in choices.items():
        for hook in wanted.hooks:
            # Token ids and numbers of experts stay integers.
            dtype = 0 if hook in wanted.integers else chosen
            capture = spec.captures.add(hook=hook, dtype=dtype, moment=moment, missing=missing)
            if len(rows) < len(selected.local):
                capture.sequences.extend(rows)
            if local is not None:
                selection.write(capture.positions, local)


def _write_outputs(
    spec: run_pb2.RunSpec, ask: Ask, batch: Batch, stop: int | None
) -> dict[str, placement.Placement]:
    """Adds the outputs; says where their parts belong."""
    placements: dict[str, placement.Placement] = {}
    if stop is not None and ask.return_type is not None:
        if ask.logits_pos is not None:
            raise errors.ArgumentError(
                "logits_pos has no logits to choose from: the pass stops earlier"
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


def output(request: Request, arrays: dict[str, Array], tensor: Callable[[Array], Any]) -> Any:
    """What the run returns besides its cache.

    Args:
        request: the run.
        arrays: the outputs, by name.
        tensor: makes what users see out of an array.
    """
    ask = request.ask
    if "residual" in arrays:
        return tensor(arrays["residual"])
    if ask.return_type is None:
        return None
    logits = tensor(arrays["logits"]) if "logits" in arrays else None
    if ask.return_type == "logits":
        return logits
    loss = tensor(_loss(arrays["log_probs"], request.batch, ask.loss_per_token))
    return loss if ask.return_type == "loss" else (logits, loss)


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


def _loss(log_probs: Array, batch: Batch, per_token: bool) -> Array:
    """Cross entropy of the next tokens: [batch, pos - 1], or the mean over the real ones."""
    if per_token:
        # 0 - x rather than -x: padding stays 0, not -0.
        per: Array = np.float32(0) - log_probs
        return per
    count = sum(len(row) - 1 for row in batch.rows)
    mean: Array = np.asarray(-log_probs.sum(dtype=np.float32) / np.float32(count))
    return mean


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
        given = inputs.token_ids(given, "targets", _TARGETS).tolist()
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
    inputs.token_ids(ids, "targets")
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
