"""The queue and clients that would fill it: turns, shares of its places, and the longest wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.fault import specs
from tests.fault.client import Client, Script
from tests.fault.conftest import Victim, a_victim

DEPTH = 64
HANGING = Script(specs.interactive(), interacts=True, at="callback")


@pytest.fixture(scope="module")
def narrow() -> Iterator[Victim]:
    """One run of a flood fills a pass."""
    with a_victim("--max-batch-tokens", "256") as made:
        yield made


@pytest.fixture(scope="module", params=["tcp", "unix"])
def short(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Victim]:
    """The queue has 16 places."""
    socket = tmp_path_factory.mktemp("socket") / "hookwired.sock"
    listen = ("--listen", f"unix:{socket}") if request.param == "unix" else ()
    with a_victim("--max-queue", "16", *listen) as made:
        yield made


@pytest.fixture(scope="module")
def hurried() -> Iterator[Victim]:
    """A run waits for a second at most."""
    with a_victim("--max-queue-time", "1") as made:
        yield made


def times(end: dict[str, Any]) -> tuple[datetime, datetime]:
    """When a run came, and when it ended."""
    ended = datetime.fromisoformat(end["time"])
    return ended - timedelta(microseconds=end["queue_us"] + end["compute_us"]), ended


def test_a_small_client_has_its_turn_beside_a_flood(narrow: Victim) -> None:
    script = Script(specs.small())
    alone = narrow.answer(script)
    with Client.floods(narrow.address, Script(specs.long(2)), DEPTH) as flood:
        flood.wait_for("flooding")
        small = []
        for _ in range(10):
            with narrow.start(script) as client:
                answer = narrow.finish(client)[-2]
                small += client.accepted
            assert answer[1] == alone
            # It came behind the flood …
            assert client.told[0][2] > DEPTH // 2
        flood.go_on()
        narrow.finish(flood)
    ends = narrow.daemon.ends()
    flooding = [times(end) for end in ends if end["run"] in set(flood.accepted)]

    def overtaken(came: datetime, ended: datetime) -> int:
        """How many runs of the flood ended while one waited and ran."""
        return sum(came < other < ended for _, other in flooding)

    assert max(overtaken(*one) for one in flooding) > DEPTH // 2
    # … and did not wait until the flood had ebbed away, as the flood's own runs did.
    assert max(overtaken(*times(end)) for end in ends if end["run"] in small) <= DEPTH // 8
    narrow.assert_well()


@pytest.mark.parametrize("channels", [1, 10])
def test_nobody_can_fill_the_queue_alone(short: Victim, channels: int) -> None:
    # All channels of a process are one client, and each flood is a process.
    with ExitStack() as stack:
        first = stack.enter_context(short.start(HANGING))
        first.wait_for("callback")
        # Each may fill half of what the others have left.
        for share in (8, 4, 2, 1):
            flood = stack.enter_context(
                Client.floods(
                    short.address, HANGING, depth=share + 3, again=False, channels=channels
                )
            )
            refused = [flood.wait_for("ended") for _ in range(3)]
            assert refused == [("ended", "RESOURCE_EXHAUSTED", "QUEUE_FULL")] * 3
            while len(flood.accepted) < share:
                flood.wait_for("accepted")
            short.runs += flood.accepted
        short.runs += first.accepted
    short.assert_well()


@pytest.mark.parametrize(
    "script", [HANGING, Script(specs.large(), at="tensors")], ids=["function", "reader"]
)
def test_a_run_that_waits_for_too_long_is_told_so(hurried: Victim, script: Script) -> None:
    with hurried.start(script) as first:
        first.wait_for(str(script.at))
        hurried.runs += first.accepted
        told = hurried.leave(script)
        assert [kind for kind, *_ in told] == ["accepted", "ended"]
        assert told[-1][2] == "QUEUE_TIMEOUT"
        assert "ended" not in {kind for kind, *_ in first.told}
    hurried.assert_well()
