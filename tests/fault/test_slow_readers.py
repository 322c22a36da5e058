"""Readers that are slow, or stand still: others go on, and what they held comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.fault import specs
from tests.fault.client import Script
from tests.fault.conftest import Victim, a_victim
from tests.fault.footprint import Footprint

MEGABYTE = 1e6
# Of the daemon's buffer for all results, as `LIMITS` has it.
BUFFER = 16 << 20
STEADY = Script(specs.everything(7))


@pytest.fixture(scope="module")
def impatient() -> Iterator[Victim]:
    """Gives a reader up after a second."""
    with a_victim("--stall-timeout", "1") as made:
        yield made


def test_others_go_on_beside_a_reader_of_a_megabyte_a_second(victim: Victim) -> None:
    alone = victim.answer(STEADY)
    # 126 MB: it would take two minutes.
    with victim.start(Script(specs.large(), rate=MEGABYTE)) as slow:
        slow.wait_for("tensors")
        for _ in range(20):
            assert victim.answer(STEADY) == alone
        # All that is kept for it is in the buffer, and what one layer of its pass works with.
        held = Footprint.of(victim.daemon.pid).resident - victim.idle.resident
        assert held < BUFFER + (64 << 20)
        assert "ended" not in {kind for kind, *_ in slow.told}
        victim.runs += slow.accepted
    victim.assert_well()


def test_a_slow_reader_gets_all_of_its_result(victim: Victim) -> None:
    script = specs.large(1)
    alone = victim.answer(Script(script))
    assert victim.answer(Script(script, rate=5 * MEGABYTE)) == alone
    victim.assert_well()


def test_slow_readers_leave_room_for_those_that_come_later(victim: Victim) -> None:
    later = [Script(specs.small()), Script(specs.everything(5, length=4))]
    alone = [victim.answer(script) for script in later]
    # Each holds a result that fits the buffer, or waits for room: together they are several times
    # as large.
    waits = Script(specs.everything(3), at="tensors")
    with ExitStack() as stack:
        readers = [stack.enter_context(victim.start(waits)) for _ in range(24)]
        for reader in readers:
            reader.wait_for("accepted")
        assert [victim.answer(script) for script in later] == alone
        for reader in readers:
            reader.go_on()
        ends = [victim.finish(reader)[-1] for reader in readers]
        assert ends == [("ended", "OK", "")] * len(readers)
    victim.assert_well()


def test_a_reader_that_freezes_in_a_result_without_end_is_given_up(impatient: Victim) -> None:
    with impatient.start(Script(specs.large(), at="tensors")) as frozen:
        frozen.wait_for("tensors")
        frozen.freeze()
        impatient.runs += frozen.accepted
        assert impatient.daemon.wait_for("run", frozen.accepted[0])["status"] == "DEADLINE_EXCEEDED"
        # The only place for passes that wait for readers is free, though the client is still there.
        assert impatient.answer(Script(specs.large(1))) == impatient.answers[1]
    impatient.assert_well()


def test_readers_that_freeze_give_the_buffer_back(impatient: Victim) -> None:
    alone = impatient.answer(STEADY)
    with ExitStack() as stack:
        # Two of them leave less than a third needs.
        for _ in range(2):
            frozen = stack.enter_context(impatient.start(Script(STEADY.spec, at="tensors")))
            frozen.wait_for("tensors")
            frozen.freeze()
            impatient.runs += frozen.accepted
        assert impatient.answer(STEADY) == alone
    impatient.assert_well()
