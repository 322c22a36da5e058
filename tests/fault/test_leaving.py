"""Clients that leave a run at each of its stages, in each way: everything comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.fault import specs
from tests.fault.client import Client, Script
from tests.fault.conftest import Victim, a_victim

WAYS = ("cancel", "close", "kill", "deadline")
# What the client sees; a killed one sees nothing.
SEEN = {"cancel": "CANCELLED", "close": "CANCELLED", "deadline": "DEADLINE_EXCEEDED"}
LEFT = {"CANCELLED", "DEADLINE_EXCEEDED"}

LARGE = Script(specs.large(), at="tensors")
LONG = Script(specs.long(), at="progress")
HANGING = Script(specs.interactive(), interacts=True, at="callback")
SPEC, UPLOADS = specs.uploading()

# A run of more than an eighth of its tokens is not let by between its layers.
BEFORE = Script(specs.long(150), at="progress")
# Where a run is when it is left.
STAGES = {"computing": LONG, "being sent": LARGE, "waiting for its function": HANGING}
# What it waits behind: a run of its own lane.
LANES = {"a pass": LONG, "a reader": LARGE, "a function": HANGING}


def leaving(script: Script, way: str) -> Script:
    """The script that leaves its run in this way."""
    if way == "deadline":
        return replace(script, leave="hold", deadline=0.5)
    return replace(script, leave=way)


@pytest.fixture(scope="module")
def wide() -> Iterator[Victim]:
    """A pass waits for as much as three runs of twenty prompts, and takes no more."""
    with a_victim(
        "--max-batch-tokens", "7680", "--max-batch-delay-us", "1000000", warm_up=Script(BEFORE.spec)
    ) as made:
        yield made


@contextmanager
def holding(victim: Victim, script: Script) -> Iterator[Client]:
    """A client whose run has come to where its script holds it."""
    with victim.start(script) as client:
        client.wait_for(str(script.at))
        victim.runs += client.accepted
        yield client


def assert_left(victim: Victim, told: list[tuple[Any, ...]], way: str) -> dict[str, Any]:
    """Asserts that both sides know of it; returns the line of the daemon's log."""
    assert way not in SEEN or told[-1][:2] == ("ended", SEEN[way])
    end = victim.daemon.wait_for("run", victim.runs[-1])
    assert end["status"] in LEFT
    return end


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stage", STAGES)
def test_a_run_that_is_left_gives_everything_back(victim: Victim, stage: str, way: str) -> None:
    assert_left(victim, victim.leave(leaving(STAGES[stage], way)), way)
    victim.assert_well()


# No deadline: such a run waits for nobody, and may have ended by then.
@pytest.mark.parametrize("way", WAYS[:3])
def test_a_run_that_leaves_its_result_in_shared_memory_gives_it_back(
    victim: Victim, way: str
) -> None:
    script = Script(specs.large(20), at="tensors", leave=way, shares=True)
    assert_left(victim, victim.leave(script), way)
    victim.assert_well()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("lane", LANES)
def test_a_run_that_is_left_while_it_waits_leaves_the_queue(
    victim: Victim, lane: str, way: str
) -> None:
    script = LANES[lane]
    with holding(victim, script):
        told = victim.leave(leaving(replace(script, at="accepted"), way))
        # Before the run in front of it has ended.
        end = assert_left(victim, told, way)
    assert end["compute_us"] == 0
    victim.assert_well()


@pytest.mark.parametrize("way", WAYS)
def test_an_upload_that_is_broken_off_gives_everything_back(victim: Victim, way: str) -> None:
    script = Script(SPEC, interacts=True, uploads=UPLOADS, at="upload")
    told = victim.leave(leaving(script, way))
    assert "accepted" not in {kind for kind, *_ in told}
    assert way not in SEEN or told[-1] == ("ended", SEEN[way], "")
    victim.assert_well()


# No deadline: it could pass before the batch begins.
@pytest.mark.parametrize("way", WAYS[:3])
def test_who_leaves_a_batch_does_not_change_it_for_the_others(wide: Victim, way: str) -> None:
    stays = Script(specs.long(20))
    alone = wide.answer(stays)
    # They come while another computes.
    with (
        holding(wide, BEFORE),
        wide.start(stays) as one,
        wide.start(stays) as other,
        wide.start(leaving(Script(specs.long(20), at="progress"), way)) as leaver,
    ):
        told = wide.finish(leaver)
        assert ("ended", "OK", "") not in told
        for client in (one, other):
            answer, end = wide.finish(client)[-2:]
            assert end == ("ended", "OK", "")
            assert answer == ("answer", alone, 3)
    wide.assert_well()
