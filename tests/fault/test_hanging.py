"""Functions that never answer: their places go to those that want them, and all else goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.fault import specs
from tests.fault.client import Script
from tests.fault.conftest import WHOLE, Victim, a_victim

HANGING = Script(specs.interactive(), interacts=True, at="callback")


@pytest.fixture(scope="module")
def impatient() -> Iterator[Victim]:
    """Two places for passes that wait for functions, each for a second once others want it."""
    with a_victim("--max-interactive", "2", "--hook-timeout", "1") as made:
        yield made


@pytest.mark.parametrize("frozen", [False, True], ids=["busy", "frozen"])
def test_others_get_the_places_of_functions_that_hang(impatient: Victim, frozen: bool) -> None:
    with ExitStack() as stack:
        hanging = [stack.enter_context(impatient.start(HANGING)) for _ in range(2)]
        for client in hanging:
            client.wait_for("callback")
            if frozen:
                client.freeze()
            impatient.runs += client.accepted
        # Runs of other kinds do not ask for their places, and the third function gets one.
        assert [impatient.answer(script) for script in WHOLE] == impatient.answers
        ends = [
            end["status"]
            for client in hanging
            for end in impatient.daemon.ends()
            if end["run"] in client.accepted
        ]
        assert ends == ["DEADLINE_EXCEEDED"]
    impatient.assert_well()


def test_a_client_is_told_why_its_function_lost_its_place(impatient: Victim) -> None:
    with ExitStack() as stack:
        hanging = [stack.enter_context(impatient.start(HANGING)) for _ in range(2)]
        for client in hanging:
            client.wait_for("callback")
        impatient.answer(WHOLE[-1])
        for client in hanging:
            client.go_on()
        ends = sorted(impatient.finish(client)[-1] for client in hanging)
    assert ends == [("ended", "DEADLINE_EXCEEDED", "HOOK_TIMEOUT"), ("ended", "OK", "")]
    impatient.assert_well()
