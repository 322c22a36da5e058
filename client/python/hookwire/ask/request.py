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

from hookwire import errors
from hookwire._proto import run_pb2, service_pb2
from hookwire.ask import asked, filters, interventions, outputs, placement, reach, uploads
from hookwire.ask.asked import Ask
from hookwire.ask.hooks import Callback
from hookwire.ask.inputs import Batch
from hookwire.errors import wording
from hookwire.facts import dtypes, selection
from hookwire.facts.catalogue import Catalogue, is_place, name_for

_TARGETS = "token ids, or strings that are one token"


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
    places: placement.Places
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
        return f"{which}: {errors.shown(where)}, {what!r}"

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
    asked.check(ask)
    stop = reach.stop(ask.stop_at_layer, n_layers)
    if ask.start_at_layer is not None and stop is not None and stop <= ask.start_at_layer:
        raise errors.ArgumentError(
            f"a run that starts at layer {ask.start_at_layer} cannot stop before layer {stop}"
        )
    message = service_pb2.RunRequest()
    spec = message.spec
    spec.load_id = load_id
    spec.join_tensors = True
    for row in batch.rows:
        spec.sequences.add(token_ids=row)
    if stop is not None:
        spec.stop_at_layer = stop
    spec.allow_non_finite = ask.allow_non_finite
    if ask.max_result_bytes is not None:
        spec.max_result_bytes = ask.max_result_bytes
    if ask.priority != "normal":
        spec.priority = asked.PRIORITIES[ask.priority]

    within = reach.Reach(catalogue, ask.start_at_layer, stop, ask.moment)
    wanted = filters.resolve(ask.names_filter, within, has_dtype=ask.dtype is not None)
    selected = placement.select(batch, ask.pos_slice)
    _write_captures(spec, wanted, selected, ask)
    functions, origins = interventions.write(spec, ask.hooks, batch, within)
    returned = outputs.write(spec, ask, batch, stop)
    taken_out = uploads.take_out(spec, max_request_bytes)
    places = placement.Places(
        batch=len(batch),
        keys=placement.everything(batch),
        captures=selected.placement,
        outputs=returned,
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
