"""The clients of the bench, against a server that notes what they do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from bench.clients import Clients, Stop, Target, Worker, drive

METHOD = "/test.Service/Run"


class Server:
    """Answers with what it was asked; can wait until so many have asked at once."""

    def __init__(self, at_once: int = 1) -> None:
        self.asked: dict[str, list[bytes]] = {}
        self._lock = threading.Lock()
        self._together = threading.Barrier(at_once)
        self._server = grpc.server(ThreadPoolExecutor(16))
        handler = grpc.unary_unary_rpc_method_handler(self._answer)
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("test.Service", {"Run": handler})]
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def _answer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        with self._lock:
            self.asked.setdefault(context.peer(), []).append(request)
        self._together.wait(10)
        return request

    def target(self, *requests: bytes) -> Target:
        return Target(self.address, METHOD, streams=False, requests=requests)

    def stop(self) -> None:
        self._together.abort()
        self._server.stop(None).wait()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def test_each_client_has_a_connection_and_takes_turns_at_the_requests(server: Server):
    (outcome,) = drive([Clients(server.target(b"a", b"b"), count=3)], seconds=0.0, least=4)
    assert len(server.asked) == 3
    assert {requests[0] for requests in server.asked.values()} == {b"a", b"b"}
    assert all(set(requests) == {b"a", b"b"} for requests in server.asked.values())
    assert len(outcome.latencies) >= 3 * 4
    assert outcome.rate == len(outcome.latencies) / outcome.seconds


def test_the_first_answer_of_each_client_is_not_counted(server: Server):
    (outcome,) = drive([Clients(server.target(b"a"), count=2)], seconds=0.0, least=1)
    assert len(outcome.latencies) <= sum(map(len, server.asked.values())) - 2


def test_a_client_has_as_many_runs_at_once_as_it_is_deep():
    server = Server(at_once=5)  # nobody is answered before five have asked
    outcomes = drive(
        [Clients(server.target(b"small")), Clients(server.target(b"many"), depth=4)], seconds=0.0
    )
    server.stop()
    assert sorted(requests[0] for requests in server.asked.values()) == [b"many", b"small"]
    assert all(outcome.latencies for outcome in outcomes)


def test_a_server_that_fails_is_an_error(server: Server):
    missing = Target(server.address, "/test.Service/Missing", streams=False, requests=(b"a",))
    with pytest.raises(grpc.RpcError):
        drive([Clients(missing)], seconds=0.0)


def wait(stop: Stop) -> None:
    while not stop():
        pass


def fail(stop: Stop) -> None:
    raise LookupError("mine")


def test_a_worker_calls_functions_and_says_what_went_wrong():
    with Worker() as worker:
        with worker.during(wait):
            pass
        with pytest.raises(RuntimeError, match="mine"), worker.during(fail):
            pass
        assert worker.call(abs, -3) == 3
