"""One run, between its request and its result."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from hookwire import errors
from hookwire._proto import service_pb2
from hookwire.answer import output
from hookwire.answer import plan as plans
from hookwire.answer.assembly import Assembly
from hookwire.answer.entries import Entry
from hookwire.answer.kept import Kept
from hookwire.answer.progress import Progress
from hookwire.answer.visits import Visit
from hookwire.ask.hooks import Hook
from hookwire.ask.request import Request
from hookwire.facts.catalogue import Catalogue
from hookwire.facts.config import Receipt
from hookwire.facts.dtypes import Array


@dataclass(frozen=True)
class Activation:
    """One tensor of a stream. Unpacks to `name, tensor`.

    Attributes:
        name: the name under which you asked for it (the canonical one, if that is among them), or
            "logits", "log_probs", "residual".
        tensor: the values, [batch, pos, …].
        names: all names under which you asked for it.
    """

    name: str
    tensor: Any
    names: tuple[str, ...]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.name, self.tensor))


class Owner(Protocol):
    """The model that a run belongs to."""

    last_receipt: Receipt | None
    _kept: Kept

    def catalogue(self) -> Catalogue:
        """The hook points."""

    def tensor(self, array: Array) -> Any:
        """What users see of an array."""

    def _hook(self, name: str) -> Hook:
        """What functions at a hook point are told."""


class Run:
    """One run: takes events, knows nothing of waiting.

    Args:
        owner: the model.
        made: the request.
        progress: whether to show a bar; None: where the result is large.
        timeout: seconds for the whole run; None: no limit.

    Attributes:
        request: what it was made from.
        timeout: as above.
        functions_see_no_batch: functions get the tensor of a single row, without the batch.
        assembly: puts the result together.
    """

    def __init__(
        self, owner: Owner, made: Request, progress: bool | None, timeout: float | None
    ) -> None:
        self._owner = owner
        self._progress = Progress(progress)
        self._accepted: service_pb2.Accepted | None = None
        # At least so many layers, by what the server has said and by what has come.
        self._layers_done = 0
        self._last_visit = ""
        self.request = made
        self.timeout = timeout
        self.functions_see_no_batch = False
        self.assembly = Assembly(made.places, made.names, owner._kept)

    def feed(self, event: Any) -> list[Entry]:
        """Takes one event; returns what has become whole by it."""
        done = self.assembly.feed(event)
        if isinstance(event, list):
            self._progress.update(self.assembly.received)
        elif isinstance(event, service_pb2.Progress):
            self._layers_done = max(self._layers_done, event.layers_done)
        elif isinstance(event, service_pb2.Accepted):
            self._accepted = event
            assert self.assembly.blueprint is not None
            plans.warn_of_size(self.assembly.blueprint, plans.WARN_BYTES)
            plans.warn_of_skipped(event.plan)
            self._progress.begin(event.plan.total_bytes)
            if event.shared_memory:
                self.assembly.prepare()
        # What is of a layer has come when those before it were computed.
        self._layers_done = max([self._layers_done, *(_layer_of(entry.name) for entry in done)])
        return done

    def stage(self) -> str:
        """How far it has come, for an error; empty where the server has not accepted it."""
        if self._accepted is None:
            return ""
        plan, done = self._accepted.plan, self._layers_done
        received = self.assembly.received
        if done >= plan.n_layers_run and received:
            said = f"all {plan.n_layers_run} layers had been computed"
        elif done or received:
            said = f"{done} of {plan.n_layers_run} layers had been computed"
        else:
            ahead = self._accepted.queue_position
            were = "1 run was" if ahead == 1 else f"{ahead or 'no'} runs were"
            said = f"no layer had been computed; {were} ahead of it when the server accepted it"
        if plan.total_bytes:
            said += f", {received:,} of {plan.total_bytes:,} bytes of its result had come"
        if self._last_visit:
            said += f"; the last hook function that was called is the one at {self._last_visit}"
        return said

    def visit(self, entry: Entry) -> Visit:
        """The call of a function for which the tensor has come."""
        assert entry.callback is not None
        asked = self.request.message.spec.interventions[entry.callback].hook
        self._last_visit = asked
        point = self._owner.catalogue().get(entry.name)
        return Visit(
            entry,
            self.assembly,
            self.request.functions[entry.callback],
            self._owner._hook(entry.name),
            asked,
            self._owner.tensor,
            read_only_reason=point.read_only_reason if point and not point.writable else None,
            has_batch=not self.functions_see_no_batch,
        )

    def finish(self) -> None:
        """Checks that the run is whole, and takes note of its receipt."""
        self.assembly.finish()
        assert self.assembly.receipt is not None
        receipt = self.assembly.receipt = replace(
            self.assembly.receipt, load_id=self.request.message.spec.load_id
        )
        self._owner.last_receipt = receipt
        if receipt.non_finite:
            _warn_of_non_finite(receipt, self.request.captured_as)

    def close(self) -> None:
        """Ends the progress bar."""
        self._progress.close()

    def activation(self, entry: Entry) -> Activation:
        """What a stream yields for it."""
        array = entry.array
        assert array is not None
        name = entry.name if entry.name in entry.names else entry.names[0]
        return Activation(name, self._owner.tensor(array), entry.names)

    def output(self) -> Any:
        """What the run returns besides its cache."""
        arrays = {e.name: e.array for e in self.assembly.entries if e.is_output}
        whole = {name: array for name, array in arrays.items() if array is not None}
        return output.output(self.request, whole, self._owner.tensor)

    def log_probs(self) -> Any:
        """The log-probabilities."""
        return next(
            self._owner.tensor(entry.array)
            for entry in self.assembly.entries
            if entry.name == "log_probs" and entry.array is not None
        )

    @property
    def receipt(self) -> Receipt:
        """What ran, where, on which weights; of a run that has ended."""
        assert self.assembly.receipt is not None
        return self.assembly.receipt

    def mask(self) -> Any:
        """True where a token of what was captured is real, bool [batch, pos]."""
        mask = self.request.batch.mask()
        if self.request.columns is not None:
            mask = mask[:, self.request.columns]
        return self._owner.tensor(mask)

    def captured(self) -> dict[str, Any]:
        """What was captured, by every name that it was asked for by."""
        tensors: dict[str, Any] = {}
        for entry in self.assembly.entries:
            if not entry.is_output and entry.callback is None and entry.array is not None:
                tensor = self._owner.tensor(entry.array)
                for name in entry.names:
                    tensors[name] = tensor
        return tensors

    def row(self, number: int) -> Run:
        """One row of a run that has ended and has no padding, as if it had been a run alone.

        Tensors share the memory of the run's. The receipt is the run's, with what was not finite in
        this row.
        """
        alone, rows = copy.copy(self), slice(number, number + 1)
        batch = self.request.batch
        alone.request = replace(
            self.request, batch=replace(batch, rows=batch.rows[rows], starts=batch.starts[rows])
        )
        alone.assembly = self.assembly.only(rows)
        return alone

    def captured_hooks(self) -> Iterable[str]:
        """The canonical names of what the run returns and functions do not see."""
        return (entry.name for entry in self.assembly.entries if entry.callback is None)


def _layer_of(name: str) -> int:
    """The layer of a hook point; 0 for one in no layer."""
    parts = name.split(".")
    return int(parts[1]) if parts[0] == "blocks" and parts[1].isdigit() else 0


def _warn_of_non_finite(receipt: Receipt, name_of: Callable[[str], str]) -> None:
    """Warns of NaN and infinity; `name_of` gives the user's name of a canonical one."""
    shown = [
        f"{name_of(entry.hook)} row {entry.row} ({entry.nan} NaN, {entry.inf} infinite)"
        for entry in receipt.non_finite[:5]
    ]
    more = len(receipt.non_finite) - len(shown)
    errors.warn(
        f"not all values are finite: {', '.join(shown)}{f' and {more} more' if more else ''}",
        errors.NonFiniteWarning,
    )
