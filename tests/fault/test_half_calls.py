"""Requests that are sent in part, and answers that nobody reads: counted, and ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import hookwire
import pytest
from hookwire._proto import run_pb2, service_pb2

from tests.fault.conftest import WHOLE, Victim, a_victim
from tests.fault.daemon import PATIENCE
from tests.fault.footprint import SLACK_BYTES, Footprint
from tests.fault.half_calls import half_client

METHODS = ["GetModel", "ListHooks", "GetTokenizer", "GetWeight", "Plan", "Run", "Interact"]
MESSAGE = 4 << 20
REQUEST_MEMORY = 64 << 20
DEADLINE_EXCEEDED = 4
RESOURCE_EXHAUSTED = 8


@pytest.fixture(scope="module")
def frugal() -> Iterator[Victim]:
    """Little memory for requests, and much patience."""
    with a_victim("--request-memory-mb", str(REQUEST_MEMORY >> 20)) as made:
        yield made


@pytest.fixture(scope="module")
def impatient() -> Iterator[Victim]:
    """Gives a client up after a second."""
    with a_victim("--stall-timeout", "1") as made:
        yield made


@pytest.mark.parametrize("method", METHODS)
def test_requests_that_are_sent_in_part_stay_within_the_memory_for_requests(
    frugal: Victim, method: str
) -> None:
    before = Footprint.of(frugal.daemon.pid)
    with ExitStack() as stack:
        calls = []
        # Several connections, as one connection's window could be the limit.
        for _ in range(4):
            client = stack.enter_context(half_client(frugal.address))
            calls += [client.call(method, bytes(MESSAGE - 1), MESSAGE) for _ in range(16)]
        # Another client is answered, at the latest when those have sent all that they can.
        for script, answer in zip(WHOLE, frugal.answers, strict=True):
            assert frugal.answer(script) == answer
        held = Footprint.of(frugal.daemon.pid).resident - before.resident
        # 256 MiB were sent.
        assert held < SLACK_BYTES, f"{held >> 20} MiB"
        # The daemon has read some of it.
        assert any(call.sent > MESSAGE // 2 for call in calls)
    frugal.assert_well()


@pytest.mark.parametrize("method", METHODS)
def test_calls_without_a_request_are_ended(impatient: Victim, method: str) -> None:
    with half_client(impatient.address) as client:
        calls = [client.call(method) for _ in range(40)]
        calls += [client.call(method, b"\x0a", 1000) for _ in range(2)]
        for call in calls:
            assert call.ended.wait(PATIENCE)
            assert call.status == DEADLINE_EXCEEDED
    impatient.assert_well()


def request_of(method: str) -> bytes:
    """A request with an answer that is not empty."""
    if method == "GetWeight":
        return service_pb2.GetWeightRequest(name="embed.weight").SerializeToString()
    if method == "Plan":
        spec = run_pb2.RunSpec()
        spec.sequences.add(token_ids=[2, 5])
        spec.captures.add(hook="**")
        return service_pb2.PlanRequest(spec=spec).SerializeToString()
    return b""


@pytest.mark.parametrize("method", ["GetModel", "ListHooks", "GetTokenizer", "GetWeight", "Plan"])
def test_answers_that_nobody_reads_are_ended(impatient: Victim, method: str) -> None:
    request = request_of(method)
    with half_client(impatient.address, window=0) as client:
        calls = [client.call(method, request, len(request)) for _ in range(8)]
        for call in calls:
            assert call.ended.wait(PATIENCE)
            assert call.status in (-1, DEADLINE_EXCEEDED)
    impatient.assert_well()


@pytest.mark.parametrize("method", ["Plan", "Run", "Interact"])
def test_a_request_is_counted_before_it_is_parsed(frugal: Victim, method: str) -> None:
    # 3.8 MB of empty captures become 190 MB of objects.
    spec = b"\x12\x00" * 1_900_000
    bomb = b"\x0a" + _varint(len(spec)) + spec
    before = Footprint.of(frugal.daemon.pid)
    with half_client(frugal.address) as client:
        calls = [client.call(method, bomb, len(bomb)) for _ in range(4)]
        for call in calls:
            assert call.ended.wait(PATIENCE)
            assert call.status == RESOURCE_EXHAUSTED
    held = Footprint.of(frugal.daemon.pid).resident - before.resident
    # Two to four times as much without the limit.
    assert held < SLACK_BYTES, f"{held >> 20} MiB"
    frugal.assert_well()


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


def test_a_daemon_says_what_requests_in_part_hold(victim: Victim) -> None:
    with half_client(victim.address) as client:
        calls = [client.call("Run") for _ in range(10)]
        with hookwire.connect(victim.address, quiet=True, shared_memory=False) as model:
            # HTTP/2's window of each.
            deadline = time.monotonic() + PATIENCE
            while model.server_load().request_bytes < len(calls) * (64 << 10):
                assert time.monotonic() < deadline
    victim.assert_well()


def test_a_connection_has_a_limit_for_calls_of_every_service() -> None:
    with a_victim("--max-calls", "100") as few, half_client(few.address) as client:
        # By now its settings have come.
        assert client.call("GetModel", b"", 0).ended.wait(PATIENCE)
        assert client.most_calls == 164
