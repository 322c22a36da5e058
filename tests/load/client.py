"""A client in a process of its own: plan after plan, each answer compared.

The processes come from one that has imported everything and opened nothing (a fork server), so that
sixty-four of them start in a second.
"""

from __future__ import annotations

import collections
import hashlib
import multiprocessing
import random
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import hookwire
import numpy as np

from tests.load import errors
from tests.load.errors import Pools
from tests.load.plans import Answer, Maker

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])

Digests = dict[str, str]
"""Of an answer: by name, its dtype, shape and the hash of its bytes."""


@dataclass
class Report:
    """What clients saw.

    Attributes:
        answers: how often each plan was answered, by seed.
        runs: ids of all runs.
        batch_runs: how many runs shared a pass: how often, by their number.
        pools: in `fast`: how far the answers were from the truth.
        wrong: what was wrong, in words.
    """

    answers: collections.Counter[int] = field(default_factory=collections.Counter)
    runs: list[str] = field(default_factory=list)
    batch_runs: collections.Counter[int] = field(default_factory=collections.Counter)
    pools: Pools = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Puts another client's report into this one."""
        self.answers += other.answers
        self.runs += other.runs
        self.batch_runs += other.batch_runs
        errors.merge(self.pools, other.pools)
        self.wrong += other.wrong


@dataclass(frozen=True)
class Expected:
    """What answers are compared with.

    Attributes:
        digests: in `reference`: of each plan's answer, by seed. Bits must be equal.
        truths: in `fast`: the directory with each plan's exact answer, "<seed>.npz".
    """

    digests: Mapping[int, Digests] = field(default_factory=dict)
    truths: Path | None = None

    def compare(self, seed: int, answer: Answer) -> Pools:
        """Its errors.

        Raises:
            AssertionError: the answer is not this plan's.
        """
        if self.truths is not None:
            with np.load(self.truths / f"{seed}.npz") as truth:
                return errors.measure(seed, answer, dict(truth))
        got, want = digests(answer), self.digests[seed]
        differ = [name for name in (*got, *want) if got.get(name) != want.get(name)]
        assert not differ, f"other bits at {', '.join(dict.fromkeys(differ))}"
        return {}


def digests(answer: Answer) -> Digests:
    """Of every tensor."""
    return {
        name: f"{tensor.dtype.name} {tensor.shape} {hashlib.sha256(tensor.tobytes()).hexdigest()}"
        for name, tensor in answer.items()
    }


def load(
    address: str, seeds: Sequence[int], expected: Expected, clients: int, seconds: float
) -> Report:
    """Has many clients ask for plans at random, each as soon as it has its last one's answer.

    Args:
        address: of the server.
        seeds: of the plans.
        expected: their answers.
        clients: how many.
        seconds: no client begins another run after so long.

    Raises:
        AssertionError: a client has died.
    """
    pipes, processes = [], []
    for number in range(clients):
        pipe, theirs = _CONTEXT.Pipe(duplex=False)
        process = _CONTEXT.Process(
            target=_report, args=(theirs, address, seeds, expected, number, seconds), daemon=True
        )
        process.start()
        theirs.close()
        pipes.append(pipe)
        processes.append(process)
    whole = Report()
    for pipe, process in zip(pipes, processes, strict=True):
        try:
            whole.add(pipe.recv())
        except EOFError:
            process.join()
            raise AssertionError(f"a client died with status {process.exitcode}") from None
        process.join()
    return whole


def _report(
    pipe: Connection,
    address: str,
    seeds: Sequence[int],
    expected: Expected,
    number: int,
    seconds: float,
) -> None:
    warnings.simplefilter("error")
    report = Report()
    # Every other one has its results in messages, as from another host.
    with hookwire.connect(
        address, tensors="numpy", quiet=True, timeout=60, shared_memory=number % 2 == 0
    ) as model:
        _ask(model, random.Random(number), seeds, expected.compare, seconds, report)
    pipe.send(report)


def _ask(
    model: hookwire.RemoteModel,
    rng: random.Random,
    seeds: Sequence[int],
    compare: Callable[[int, Answer], Any],
    seconds: float,
    report: Report,
) -> None:
    maker = Maker(model)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and len(report.wrong) < 3:
        seed = rng.choice(seeds)
        plan = maker.make(seed)
        try:
            pools = compare(seed, plan.run(model))
        except AssertionError as error:
            report.wrong.append(f"plan {seed}: {error}")
            continue
        except Exception:
            report.wrong.append(f"plan {seed}: {traceback.format_exc()}")
            continue
        receipt = model.last_receipt
        assert receipt is not None
        report.answers[seed] += 1
        report.runs.append(receipt.run_id)
        report.batch_runs[receipt.batch_runs] += 1
        errors.merge(report.pools, pools)
