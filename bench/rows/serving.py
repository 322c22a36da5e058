"""Many clients at once: runs a second, and how long a run takes, by how many there are.

The baseline is a server as one would write it by hand, with Transformers (`bench.python_server`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from torch import Tensor

from bench import handwritten, measure
from bench.bare_pass import bare_pass
from bench.baselines import Baselines
from bench.checkpoints import MID, MID_BF16, Checkpoint
from bench.clients import Clients, Outcome, Target, drive
from bench.figures import Row, Series, Unit
from bench.measure import Effort
from bench.rows.kind import (
    HOOKWIRE,
    TRANSFORMERS,
    Measure,
    Outputs,
    require_agreement,
    unrounded,
)
from bench.workbench import Workbench

N_POS = 32
N_CLIENTS = 16
GOALS = {False: 4.0, True: 2.5}
CURVE = (1, 2, 4, 8, 16, 32, 64)
SATURATING = 32
SATURATED_GOAL = 0.9
HANDWRITTEN = "hand-written Python server"
STOPPING = f"{HANDWRITTEN}, ends at the hook"
BARE = "the forward pass alone, in one batch"


@dataclass(frozen=True)
class Sides:
    """What clients of either server ask for: a hook of one prompt, by turns.

    Attributes:
        ours: of Hookwire.
        theirs: of the hand-written server, whose pass goes to its end.
        stopping: the same, but the pass ends at the hook; None where logits are wanted.
    """

    ours: Target
    theirs: Target
    stopping: Target | None


def ask_for(
    bench: Workbench, checkpoint: Checkpoint, prompts: Tensor, name: str, **wanted: Any
) -> Target:
    """What clients ask Hookwire for: hook points, and other arguments of `RemoteModel.stream`."""
    model = bench.daemon(checkpoint).model
    requests = [
        model.stream(prompt[None], name, **wanted)._run.request.message for prompt in prompts
    ]
    return Target(
        model.server.address,
        "/hookwire.v1.ActivationService/Run",
        streams=True,
        requests=tuple(request.SerializeToString() for request in requests),
        is_hookwire=True,
    )


def sides(bench: Workbench, checkpoint: Checkpoint, *, logits: bool) -> Sides:
    """Both servers, after they have returned the same outputs.

    Raises:
        DisagreementError: they have not.
    """
    prompts, name = checkpoint.prompts(N_CLIENTS, N_POS), checkpoint.middle
    layer = checkpoint.n_layers // 2
    model, address = bench.daemon(checkpoint).model, bench.python_server(checkpoint)
    baselines = bench.baselines(checkpoint)
    last = {"return_type": "logits", "logits_pos": -1} if logits else {"return_type": None}
    theirs = [
        handwritten.target(address, prompts, layer, logits=logits, stop=stop)
        for stop in ((False,) if logits else (False, True))
    ]
    for target in theirs:
        for prompt, answer in zip(prompts, handwritten.ask(target), strict=True):
            whole, cache = model.run_with_cache(prompt[None], names_filter=name, **last)
            ours = {"hook": cache[name][0], **({"logits": whole[0, -1]} if logits else {})}
            exact = unrounded(checkpoint, partial(_exact, baselines, prompt[None], layer, answer))
            require_agreement(ours, [answer], exact)
    return Sides(ask_for(bench, checkpoint, prompts, name, **last), theirs[0], (*theirs, None)[1])


def _exact(baselines: Baselines, tokens: Tensor, layer: int, names: Iterable[str]) -> Outputs:
    """These outputs in Transformers."""
    outputs = baselines.transformers.run(tokens, [layer], "last")
    found = {"hook": outputs[f"blocks.{layer}.hook_out"][0], "logits": outputs["logits"][0, -1]}
    return {name: found[name] for name in names}


def serving(checkpoint: Checkpoint, bench: Workbench, *, logits: bool) -> tuple[Row, ...]:
    """Sixteen clients, each with one run after another."""
    asked = sides(bench, checkpoint, logits=logits)
    targets = {HOOKWIRE: asked.ours, HANDWRITTEN: asked.theirs}
    if asked.stopping is not None:
        targets[STOPPING] = asked.stopping
    seconds = 1.0 if bench.quick else 3.0
    outcomes = measure.collect(
        {label: partial(_drive, bench, target, N_CLIENTS, seconds) for label, target in
         targets.items()},
        Effort(0, least=1 if bench.quick else 3, most=1 if bench.quick else 3, warm_up=0),
    )  # fmt: skip
    ours = _rates(HOOKWIRE, outcomes[HOOKWIRE])
    return tuple(
        Row(
            f"serving{'-logits' if logits else ''}/{checkpoint.name}",
            f"{checkpoint.name}: {N_CLIENTS} clients, {checkpoint.middle} of {N_POS} tokens, "
            f"{'last' if logits else 'no'} logits",
            ours,
            _rates(label, outcomes[label]),
            goal=GOALS[logits] if label == HANDWRITTEN else None,
            note=_note(outcomes[HOOKWIRE]),
        )
        for label in targets
        if label != HOOKWIRE
    )


def curve(bench: Workbench) -> tuple[Row, ...]:
    """Runs a second, and the 99th percentile of what a run takes, for ever more clients."""
    asked = sides(bench, MID, logits=False)
    rows = []
    for count in CURVE[:3] if bench.quick else CURVE:
        # So that each client counts several times, however slow its server is.
        outcomes = {
            label: _drive(bench, target, count, seconds=2.0, least=2)
            for label, target in ((HOOKWIRE, asked.ours), (HANDWRITTEN, asked.theirs))
        }
        what = f"{MID.name}: {count} client{'s' if count > 1 else ''}, {MID.middle}, no logits"
        note = f"{count}: {_note([outcomes[HOOKWIRE]])}"
        for which, series in (("rate", _rates), ("p99", _times)):
            ours, theirs = (series(label, [outcome]) for label, outcome in outcomes.items())
            row = Row(
                f"curve/{MID.name}", f"{what}: {which}", ours, theirs, note=note, clients=count
            )
            rows.append(row)
    return tuple(rows)


def saturated(bench: Workbench) -> tuple[Row, ...]:
    """Tokens a second through all layers, against one batch of as many prompts."""
    prompts = MID.prompts(SATURATING, N_POS)
    name = f"blocks.{MID.n_layers - 1}.hook_out"
    target = ask_for(bench, MID, prompts, name)
    reference = bench.baselines(MID).transformers
    tokens = prompts.numel()

    def served() -> float:
        outcome = _drive(bench, target, SATURATING, seconds=1.0 if bench.quick else 4.0)
        return outcome.rate * N_POS

    def batched() -> float:
        begin = time.perf_counter()
        reference.run(prompts, [MID.n_layers - 1], "no")
        return tokens / (time.perf_counter() - begin)

    with bare_pass(MID.directory(), bench.threads, *prompts.shape) as run:
        rates = measure.collect(
            {HOOKWIRE: served, BARE: lambda: tokens / run(), TRANSFORMERS: batched},
            Effort(0, least=2 if bench.quick else 5, most=2 if bench.quick else 5, warm_up=1),
        )
    ours = Series(HOOKWIRE, tuple(rates[HOOKWIRE]), Unit.TOKENS_PER_SECOND)
    return tuple(
        Row(
            f"saturated/{MID.name}",
            f"{MID.name}: {SATURATING} clients, {name} of {N_POS} tokens",
            ours,
            Series(label, tuple(rates[label]), Unit.TOKENS_PER_SECOND),
            goal=SATURATED_GOAL if label == BARE else None,
        )
        for label in (BARE, TRANSFORMERS)
    )


def _drive(bench: Workbench, target: Target, count: int, seconds: float, least: int = 1) -> Outcome:
    return bench.worker("clients").call(drive, [Clients(target, count)], seconds, least)[0]


def _rates(label: str, outcomes: list[Outcome]) -> Series:
    return Series(label, tuple(outcome.rate for outcome in outcomes), Unit.RUNS_PER_SECOND)


def _times(label: str, outcomes: list[Outcome]) -> Series:
    values = [latency for outcome in outcomes for latency in outcome.latencies]
    return Series(label, tuple(values), quantile=0.99)


def _note(outcomes: list[Outcome]) -> str:
    shared = [runs for outcome in outcomes for runs in outcome.batch_runs]
    return f"a run shared its pass with {fmean(shared) - 1:.1f} others"


ROWS: dict[str, Measure] = {
    **{
        f"serving{'-logits' if logits else ''}/{checkpoint.name}": partial(
            serving, checkpoint, logits=logits
        )
        for logits in (False, True)
        for checkpoint in (MID, MID_BF16)
    },
    f"saturated/{MID.name}": saturated,
    f"curve/{MID.name}": curve,
}
