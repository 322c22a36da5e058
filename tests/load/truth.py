"""A plan's exact answer: the direct computation in float64, put together as a run returns it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from hookwire import HookPoint
from hookwire.facts.catalogue import KEY_POSITION, POSITION
from torch import Tensor

from tests.load.plans import FACTOR, Answer, Array, Edit, Plan
from tests.parity import edits
from tests.parity.direct import DirectModel, Seen
from tests.parity.edits import Selection

# Shares nearer to one another than this may be chosen either way: 2.5 times what counts as a tie in
# tests/parity/tolerance.py.
TIE = 2e-5


class TieError(Exception):
    """Which experts a plan's tokens choose depends on rounding: there is no one right answer."""


def exact(plan: Plan, oracle: DirectModel, point_of: Callable[[str], HookPoint],
          names: Sequence[str]) -> Answer:  # fmt: skip
    """The answer.

    Args:
        plan: of which.
        oracle: computes in float64.
        point_of: a hook point by its canonical name.
        names: what the run returns: canonical names, and "output".

    Raises:
        TieError: the plan has none.
    """
    rows: list[Seen] = []
    before: list[dict[str, Tensor]] = []
    for row, prompt in enumerate(plan.prompts):
        earlier: dict[str, Tensor] = {}
        edits = [
            _edit(edit, rows[0] if rows else None, earlier)
            for edit in plan.edits
            if edit.rows is None or row in edit.rows
        ]
        rows.append(oracle.run(list(prompt), edits))
        before.append(earlier)
        _check_choices(rows[-1])
    arguments = plan.arguments
    answer: Answer = {}
    for name in names:
        if name == "output":
            answer[name] = _output(plan, rows)
            continue
        was = before if arguments.get("moment") == "before" else [{}] * len(rows)
        tensors = [earlier.get(name, seen[name]) for earlier, seen in zip(was, rows, strict=True)]
        kinds = [axis.kind for axis in point_of(name).axes]
        answer[name] = _padded(tensors, [kind in (POSITION, KEY_POSITION) for kind in kinds])
        if "pos_slice" in arguments:
            axis = 1 + kinds.index(POSITION)
            answer[name] = np.take(answer[name], arguments["pos_slice"], axis=axis)
    return answer


def _edit(edit: Edit, source: Seen | None, earlier: dict[str, Tensor]) -> tuple[str, Any]:
    """As a function on a copy of the tensor, which keeps what was there before."""
    where = Selection(edit.pos, edit.head, edit.feature)

    def change(x: Tensor) -> Tensor:
        earlier[edit.name] = x.clone()
        index = where.index(edit.name, x.shape)
        value = torch.tensor(edit.value, dtype=x.dtype)
        # The function multiplies, too.
        kind = "scale" if edit.kind == "function" else edit.kind
        edits.apply(x, index, kind, edit.name, value, FACTOR, source)
        return x

    return edit.name, change


def _padded(tensors: Sequence[Tensor], grows: Sequence[bool]) -> Array:
    """Rows of different lengths as [batch, …], with zeros behind the shorter ones."""
    arrays = [tensor.numpy() for tensor in tensors]
    whole = np.zeros((len(arrays), *np.max([a.shape for a in arrays], axis=0)), arrays[0].dtype)
    for row, array in enumerate(arrays):
        assert all(g or n == m for g, n, m in zip(grows, array.shape, whole.shape[1:], strict=True))
        whole[(row, *map(slice, array.shape))] = array
    return whole


def _output(plan: Plan, rows: Sequence[Seen]) -> Array:
    arguments = plan.arguments
    if "stop_at_layer" in arguments:
        stop = arguments["stop_at_layer"]
        return _padded([seen[f"blocks.{stop - 1}.hook_out"] for seen in rows], [True, False])
    logits = [seen["hook_logits"] for seen in rows]
    if arguments["return_type"] == "logits":
        chosen = arguments.get("logits_pos")
        if chosen is None:
            return _padded(logits, [True, False])
        index = [chosen] if isinstance(chosen, int) else chosen
        return _padded([row[index] for row in logits], [True, False])
    losses = []
    for prompt, row in zip(plan.prompts, logits, strict=True):
        targets = torch.tensor(prompt[1:])
        losses.append(-row[:-1].log_softmax(-1)[torch.arange(len(targets)), targets])
    return _padded(losses, [True])


def _check_choices(seen: Seen) -> None:
    for name, chosen in seen.items():
        if not name.endswith("router.hook_indices"):
            continue
        shares = seen[name.replace("hook_indices", "hook_out")]
        ordered = shares.sort(-1, descending=True).values
        k = chosen.shape[-1]
        # Their order among themselves is that of hook_indices.
        if (ordered[:, :k] < ordered[:, 1 : k + 1] * (1 + TIE)).any():
            raise TieError(name)
