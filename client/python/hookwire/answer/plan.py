"""A run checked against the model: what it will send, exactly."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from hookwire import errors
from hookwire._proto import run_pb2, service_pb2
from hookwire.answer.assembly import Assembly
from hookwire.answer.blueprint import OUTPUTS, Blueprint
from hookwire.facts import display, dtypes
from hookwire.facts.display import size

WARN_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class PlannedTensor:
    """One tensor of a result.

    Attributes:
        name: canonical name of the hook point, or "logits", "log_probs", "residual".
        names: the names under which it is returned.
        shape: sizes of the axes, with the batch in front.
        dtype: "float32", "bfloat16", ….
        bytes: how many bytes the server sends for it. Padding is not sent.
    """

    name: str
    names: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    bytes: int


@dataclass(frozen=True)
class Plan:
    """What a run would do and send.

    Attributes:
        tensors: the tensors in the order in which they will be computed, and after them those that
            functions will get.
        total_bytes: bytes of all tensors together.
        total_tokens: tokens of all rows together.
        n_layers_run: how many layers will run.
        skipped: names that the model does not have, with `missing="skip"`.
        intervened_hooks: hook points that ops will change, in the order of the pass.
    """

    tensors: tuple[PlannedTensor, ...]
    total_bytes: int
    total_tokens: int
    n_layers_run: int
    skipped: tuple[str, ...]
    intervened_hooks: tuple[str, ...]

    def _summary(self) -> str:
        return (
            f"{size(self.total_bytes)} in {len(self.tensors)} tensors, "
            f"{self.total_tokens} tokens, {self.n_layers_run} layers"
        )

    def __repr__(self) -> str:
        return f"Plan({self._summary()})"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        rows: list[tuple[str, ...]] = [
            (one.name, display.shape(one.shape), one.dtype, size(one.bytes)) for one in self.tensors
        ]
        rows += [(name, "changed by ops") for name in self.intervened_hooks]
        rows += [(name, "skipped: this model does not have it") for name in self.skipped]
        return display.table(f"Plan: {self._summary()}", ("name", "shape", "dtype", "size"), rows)

    def __str__(self) -> str:
        lines = [self._summary()]
        for tensor in self.tensors:
            shape = display.shape(tensor.shape)
            lines.append(f"  {tensor.name:<44} {shape:>20} {tensor.dtype:<9} {size(tensor.bytes)}")
        lines += [f"  changed: {name}" for name in self.intervened_hooks]
        lines += [f"  skipped: {name}" for name in self.skipped]
        return "\n".join(lines)


def made(assembly: Assembly, answer: service_pb2.PlanResponse) -> Plan:
    """The plan out of the answer to a dry run.

    Raises:
        IncompleteResultError: it contradicts itself or the request.
    """
    blueprint = assembly.begin(answer.plan)
    blueprint.check()
    return summarize(blueprint)


def summarize(blueprint: Blueprint) -> Plan:
    """What users see of a plan."""
    message = blueprint.plan
    tensors = tuple(
        PlannedTensor(
            draft.name, draft.names, draft.frame.sizes, dtypes.NAMES[draft.dtype], draft.sent_bytes
        )
        for draft in map(blueprint.draft, blueprint.groups_of)
    )
    return Plan(
        tensors,
        message.total_bytes,
        message.total_tokens,
        message.n_layers_run,
        tuple(message.skipped),
        tuple(message.intervened_hooks),
    )


def warn_of_size(blueprint: Blueprint, threshold: int) -> None:
    """Warns of a large result, before it starts, with what makes it large."""
    message = blueprint.plan
    if message.total_bytes <= threshold:
        return
    sent = blueprint.sent_bytes
    largest = heapq.nlargest(3, sent.items(), key=lambda item: item[1])
    what = ", ".join(
        f"{OUTPUTS.get(source) or hook} ({size(count)})" for (source, hook, _), count in largest
    )
    more = "" if len(sent) <= 3 else f" and {len(sent) - 3} more"
    errors.warn(
        f"the result has {size(message.total_bytes)}: {what}{more}. names_filter, pos_slice, "
        "logits_pos or return_type=None make it smaller",
        errors.ResultSizeWarning,
    )


def warn_of_skipped(message: run_pb2.Plan) -> None:
    """Warns of names that were left out with `missing="skip"`."""
    if message.skipped:
        errors.warn(
            f'missing="skip" left out {", ".join(message.skipped)}',
            errors.SkippedWarning,
        )
