"""Many clients at once: each gets what it would get alone.

`HOOKWIRE_LOAD_SECONDS` (20) is for how long all tests together keep the daemons busy, and
`HOOKWIRE_LOAD_CLIENTS` (16) how many clients there are; see README.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import hookwire
import numpy as np
import pytest
import torch

from tests.fault.daemon import Daemon, daemon
from tests.fault.footprint import Footprint, assert_nothing_leaks, without_clients
from tests.load import errors
from tests.load.client import Digests, Expected, Report, digests, load
from tests.load.errors import Pools
from tests.load.plans import Answer, Maker
from tests.load.truth import TieError, exact
from tests.parity import tolerance
from tests.parity.checkpoints import CHECKPOINTS, write
from tests.parity.reference import Reference

# Between them: per-layer embeddings, keys and values of earlier layers, experts, both dtypes.
EXACT = ("e-small-fp32", "moe-small-bf16")
FAST = ("e-small-fp32", "moe-small-fp32")
SECONDS = float(os.environ.get("HOOKWIRE_LOAD_SECONDS", 20)) / (len(EXACT) + len(FAST))
CLIENTS = int(os.environ.get("HOOKWIRE_LOAD_CLIENTS", 16))
PLANS = 200

pytestmark = pytest.mark.timeout(300 + SECONDS)


@dataclass(frozen=True)
class Served:
    """A daemon, and what it must answer.

    Attributes:
        daemon: it.
        seeds: of the plans.
        expected: their answers.
        reference: in `fast`: how far Transformers' own answers are from the truth, by seed.
    """

    daemon: Daemon
    seeds: tuple[int, ...]
    expected: Expected
    reference: dict[int, Pools]

    def load(self, expected: Expected | None = None, clients: int = CLIENTS,
             seconds: float = SECONDS) -> Report:  # fmt: skip
        """Keeps the daemon busy."""
        return load(self.daemon.address, self.seeds, expected or self.expected, clients, seconds)

    def too_far(self, report: Report) -> list[str]:
        """What is farther from the truth than Transformers' answers to the same plans allow."""
        theirs: Pools = {}
        for seed, count in report.answers.items():
            errors.merge(theirs, self.reference[seed], count)
        return errors.too_far(report.pools, theirs)


def ask_alone(model: hookwire.RemoteModel, seed: int) -> Answer:
    """What a plan's run returns, when its client is the only one."""
    return Maker(model).make(seed).run(model)


def directory_of(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(CHECKPOINTS[name], tmp_path_factory.mktemp("load") / name)


@pytest.fixture(scope="module", params=EXACT)
def served_exactly(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """`reference`: another daemon says what each plan's answer is."""
    directory = directory_of(request.param, tmp_path_factory)
    seeds = tuple(range(PLANS))
    with (
        daemon("--numerics", "reference", model=directory) as oracle,
        hookwire.connect(oracle.address, tensors="numpy", quiet=True) as model,
    ):
        expected: dict[int, Digests] = {seed: digests(ask_alone(model, seed)) for seed in seeds}
    with daemon("--numerics", "reference", model=directory) as served:
        yield Served(served, seeds, Expected(expected), {})


@pytest.fixture(scope="module", params=FAST)
def served_fast(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """`fast`: the direct computation in float64 says it, and `reference` what Transformers says."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for tensors as small as these
    directory = directory_of(request.param, tmp_path_factory)
    oracle = Reference(directory, torch.float32).oracle
    truths = tmp_path_factory.mktemp("truths")
    theirs: dict[int, Pools] = {}
    with (
        daemon("--numerics", "reference", model=directory) as reference,
        hookwire.connect(reference.address, tensors="numpy", quiet=True) as model,
    ):
        maker, points = Maker(model), model.hook_dict
        for seed in range(PLANS):
            answer = ask_alone(model, seed)
            try:
                truth = exact(maker.make(seed), oracle, points.__getitem__, list(answer))
            except TieError:
                continue
            theirs[seed] = errors.measure(seed, answer, truth)
            np.savez(truths / f"{seed}.npz", **truth)
    torch.set_num_threads(threads)
    assert len(theirs) > PLANS / 2
    with daemon("--numerics", "fast", model=directory) as served:
        yield Served(served, tuple(theirs), Expected(truths=truths), theirs)


def keep_busy(served: Served) -> Report:
    """Loads the daemon; asserts that every run had its end, and left nothing."""
    started = Footprint.of(served.daemon.pid)
    # What the first run of each kind leaves behind is no leak: in bfloat16, code for each shape.
    with hookwire.connect(served.daemon.address, tensors="numpy", quiet=True) as model:
        for seed in served.seeds:
            ask_alone(model, seed)
    served.load(seconds=2)
    idle = without_clients(served.daemon, started)
    report = served.load()
    assert not report.wrong, "\n".join(report.wrong)
    assert_nothing_leaks(served.daemon, idle, report.runs)
    ends = {end["run"]: end["status"] for end in served.daemon.ends()}
    assert {ends[run] for run in report.runs} == {"OK"}
    # Otherwise they were not many at once.
    assert max(report.batch_runs) > 1
    return report


def test_every_client_gets_the_bits_that_it_would_get_alone(served_exactly: Served) -> None:
    report = keep_busy(served_exactly)
    assert len(report.answers) > CLIENTS


def test_every_client_gets_an_answer_as_near_to_the_truth_as_it_would_alone(
    served_fast: Served,
) -> None:
    report = keep_busy(served_fast)
    assert len(report.answers) > CLIENTS
    wrong = served_fast.too_far(report)
    assert not wrong, "\n".join(wrong)


def test_one_wrong_bit_is_found(served_exactly: Served) -> None:
    seed = served_exactly.seeds[0]
    want = served_exactly.expected.digests[seed]
    name, digest = next(iter(want.items()))
    other = {seed: {**want, name: f"{digest[:-1]}{'0' if digest[-1] != '0' else '1'}"}}
    expected = replace(served_exactly.expected, digests=other)
    report = replace(served_exactly, seeds=(seed,)).load(expected, clients=1, seconds=1)
    assert report.wrong[0] == f"plan {seed}: other bits at {name}"


def test_one_answer_that_is_not_as_near_is_found(served_fast: Served, tmp_path: Path) -> None:
    """A thousandth of a tensor's size, in one element of one plan."""
    assert served_fast.expected.truths is not None
    for seed in served_fast.seeds:
        with np.load(served_fast.expected.truths / f"{seed}.npz") as truth:
            moved = {name: tensor.copy() for name, tensor in truth.items()}
        if seed == served_fast.seeds[0]:
            tensor = next(tensor for tensor in moved.values() if tensor.dtype.kind == "f")
            tensor.flat[np.abs(tensor).argmax()] *= 1.001
        np.savez(tmp_path / f"{seed}.npz", **moved)
    report = served_fast.load(Expected(truths=tmp_path), clients=2, seconds=2)
    assert not report.wrong
    assert f"(plan {served_fast.seeds[0]})" in "\n".join(served_fast.too_far(report))


def test_the_tolerance_is_that_of_the_parity_tests() -> None:
    assert (errors.FACTOR, errors.OUTLIER) == (tolerance.FACTOR, tolerance.OUTLIER)
