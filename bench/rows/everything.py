"""Every hook point at once, against TransformerLens; and the CPU time that a tensor of it costs."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from bench import measure
from bench.checkpoints import MID, MID_BF16, TOY, WIDE, Checkpoint
from bench.daemon import Daemon
from bench.figures import Kind, Row, Series
from bench.measure import Effort
from bench.rows.kind import HOOKWIRE, TRANSFORMER_LENS, Measure, Outputs, compare, unrounded
from bench.workbench import Workbench

# Prompts and tokens of each.
SHAPES = ((1, 16), (1, 64), (8, 32))
GOALS = {TOY.name: 1.0, MID.name: 1.2}
# Of the daemon and of the client, for each tensor.
TENSOR_GOAL = 4e-6
_STRETCH_SECONDS = 1.0
"""A process's CPU time is counted in ticks of 10 ms, so that of many runs is taken."""


def everything(checkpoint: Checkpoint, bench: Workbench) -> tuple[Row, ...]:
    """Every hook point that TransformerLens's cache holds, and all logits."""
    shapes = SHAPES[:1] if checkpoint == WIDE else SHAPES
    return tuple(row for shape in shapes for row in _of_shape(checkpoint, bench, *shape))


def _of_shape(checkpoint: Checkpoint, bench: Workbench, n_rows: int, n_pos: int) -> tuple[Row, ...]:
    model, bridge = bench.daemon(checkpoint).model, bench.baselines(checkpoint).bridge
    tokens = checkpoint.prompts(n_rows, n_pos)
    names = [name for name in bridge.run_with_cache(tokens)[1] if _same_in_both(name)]

    def outputs(result: tuple[Tensor, dict[str, Tensor]]) -> Outputs:
        whole, cache = result
        return {"logits": whole, **{name: cache[name] for name in names}}

    def theirs() -> Outputs:
        return outputs(bridge.run_with_cache(tokens))

    planned = model.plan(tokens, names)
    goal = GOALS.get(checkpoint.name) if (n_rows, n_pos) != SHAPES[0] else None
    what = f"{checkpoint.name}: all of TransformerLens's cache of {n_rows} × {n_pos} tokens"
    rows = compare(
        bench,
        f"everything/{checkpoint.name}",
        f"{what}, all logits",
        lambda: outputs(model.run_with_cache(tokens, names_filter=names)),
        {TRANSFORMER_LENS: theirs},
        {} if goal is None else {TRANSFORMER_LENS: goal},
        note=(
            f"{n_rows} × {n_pos}: {len(names)} names, {len(planned.tensors)} tensors, "
            f"{planned.total_bytes / 2**20:.1f} MiB"
        ),
        exact=unrounded(checkpoint, theirs),
    )
    return rows + _of_tensors(checkpoint, bench, tokens, names, what)


@dataclass(frozen=True)
class Used:
    """CPU seconds of a run, on average."""

    daemon: float
    client: float


def _of_tensors(
    checkpoint: Checkpoint, bench: Workbench, tokens: Tensor, names: list[str], what: str
) -> tuple[Row, ...]:
    """CPU time of a run, less that of the same run with one hook, over the tensors it has more."""
    served = bench.daemon(checkpoint)
    last = [f"blocks.{checkpoint.n_layers - 1}.hook_out"]
    # The server sends one of each hook point for each prompt.
    more = len(tokens) * (
        len(served.model.plan(tokens, names).tensors) - len(served.model.plan(tokens, last).tensors)
    )
    sides = {
        "all": partial(used, served, tokens, names),
        "one": partial(used, served, tokens, last),
    }
    rounds = 1 if bench.quick else 5
    results = measure.collect(sides, Effort(0, least=rounds, most=rounds, warm_up=0))
    pairs = list(zip(results["all"], results["one"], strict=True))
    rows = []
    for side in ("daemon", "client"):
        values = tuple((getattr(a, side) - getattr(b, side)) / more for a, b in pairs)
        rows.append(
            Row(
                f"everything/{checkpoint.name}",
                f"{what}: CPU time of the {side}, a tensor",
                Series(HOOKWIRE, values),
                kind=Kind.BOUND,
                goal=TENSOR_GOAL if checkpoint == TOY else None,
            )
        )
    return tuple(rows)


def used(served: Daemon, tokens: Tensor, names: list[str]) -> Used:
    """What runs with these hooks and all logits take, over about `_STRETCH_SECONDS`."""

    def run() -> None:
        served.model.run_with_cache(tokens, names_filter=names)

    run()
    begin = time.perf_counter()
    run()
    count = math.ceil(_STRETCH_SECONDS / (time.perf_counter() - begin))
    daemon, client = served.server.cpu_seconds(), time.process_time()
    for _ in range(count):
        run()
    return Used(
        (served.server.cpu_seconds() - daemon) / count, (time.process_time() - client) / count
    )


def _same_in_both(name: str) -> bool:
    """Whether the name means the same tensor: rotary and the scores do not in TransformerLens."""
    return not name.startswith("rotary_emb") and not name.endswith("hook_attn_scores")


ROWS: dict[str, Measure] = {
    f"everything/{checkpoint.name}": partial(everything, checkpoint)
    for checkpoint in (TOY, MID, WIDE, MID_BF16)
}
