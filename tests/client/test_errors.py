"""Every reason of the wire is a type, and carries what the server says about it."""

from __future__ import annotations

import socket
import time
from typing import Any

import grpc
import hookwire
import pytest
from hookwire import errors
from hookwire._proto import service_pb2
from hookwire.wire import status

from tests.client.fake_server import FakeServer, Refused

REASONS = [name.removeprefix("ERROR_REASON_") for name in dict(service_pb2.ErrorReason.items())][1:]


def test_the_table_is_total() -> None:
    assert sorted(errors.BY_REASON) == sorted(REASONS)
    assert len(set(errors.BY_REASON.values())) == len(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_a_refusal_is_raised_as_its_type(
    model: hookwire.RemoteModel, server: FakeServer, reason: str
) -> None:
    server.refusal = Refused(
        reason,
        f"the cause of {reason}",
        "spec.captures[0].hook",
        hook="x",
        suggestion="y",
        bytes=5,
        limit=7,
        tokens=9,
    )
    with pytest.raises(errors.BY_REASON[reason]) as caught:
        model([[1, 2]])
    error = caught.value
    assert isinstance(error, hookwire.HookwireError)
    assert str(error) == error.message
    if reason in ("UNKNOWN_FIELD", "MALFORMED_REQUEST", "UNEXPECTED_MESSAGE"):
        # These sentences are about the wire.
        assert error.metadata["server_message"] == f"the cause of {reason}"
    else:
        assert str(error) == f"the cause of {reason}"
    assert error.reason == reason
    assert isinstance(error.code, grpc.StatusCode)
    assert error.field == "spec.captures[0].hook"
    assert (error.hook, error.suggestion) == ("x", "y")
    server.refusal = None
    model([[1, 2]])  # the next one works


def test_sizes_of_a_result_too_large(model: hookwire.RemoteModel) -> None:
    with pytest.raises(hookwire.ResultTooLargeError) as caught:
        model([[1, 2, 3]], max_result_bytes=100)
    assert (caught.value.bytes, caught.value.limit) == (3 * 32 * 4, 100)


def test_a_sequence_too_long(model: hookwire.RemoteModel) -> None:
    with pytest.raises(hookwire.SequenceTooLongError) as caught:
        model([[1] * 30])
    assert (caught.value.tokens, caught.value.limit) == (30, 24)


@pytest.mark.parametrize(
    ("ids", "error"),
    [
        ([[99]], hookwire.TokenOutOfRangeError),
        ([[]], hookwire.EmptySequenceError),
        ([], hookwire.NoSequencesError),
    ],
)
def test_bad_tokens(model: hookwire.RemoteModel, ids: Any, error: Any) -> None:
    with pytest.raises(error):
        model(ids)


@pytest.mark.parametrize("stop", [4, -4, 100])
def test_stop_out_of_range(model: hookwire.RemoteModel, stop: int) -> None:
    with pytest.raises(hookwire.StopOutOfRangeError):
        model([[1]], stop_at_layer=stop)


def test_python_types() -> None:
    assert issubclass(hookwire.HookNotFoundError, KeyError)
    assert issubclass(hookwire.UnavailableError, ConnectionError)
    assert issubclass(hookwire.TokenOutOfRangeError, IndexError)
    assert issubclass(hookwire.ValueShapeError, ValueError)
    assert issubclass(hookwire.ValueDtypeError, TypeError)
    assert issubclass(hookwire.UnsupportedError, NotImplementedError)
    assert issubclass(hookwire.NoModulesError, AttributeError)


class _RpcError(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str, trailing: Any = ()) -> None:
        self.code, self.details = lambda: code, lambda: details
        self.trailing_metadata = lambda: trailing


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.UNAVAILABLE, hookwire.UnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, hookwire.DeadlineError),
        (grpc.StatusCode.CANCELLED, hookwire.CancelledError),
        (grpc.StatusCode.UNIMPLEMENTED, hookwire.UnsupportedError),
        (grpc.StatusCode.INTERNAL, hookwire.InternalServerError),
        (grpc.StatusCode.DATA_LOSS, hookwire.HookwireError),
    ],
)
def test_errors_of_grpc_itself(code: grpc.StatusCode, error: Any) -> None:
    found = status.from_rpc(_RpcError(code, "why"), "host:1")
    assert type(found) is error
    assert "why" in str(found)
    assert found.code is code


def test_a_reason_of_a_later_server() -> None:
    from google.rpc import error_details_pb2, status_pb2

    made = status_pb2.Status()
    made.details.add().Pack(error_details_pb2.ErrorInfo(reason="MOON_PHASE"))
    trailing = [("other", "x"), ("grpc-status-details-bin", made.SerializeToString())]
    found = status.from_rpc(_RpcError(grpc.StatusCode.INVALID_ARGUMENT, "why", trailing), "host:1")
    assert type(found) is hookwire.HookwireError
    assert found.reason == "MOON_PHASE"


def test_nothing_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    start = time.monotonic()
    with pytest.raises(hookwire.UnavailableError, match=f"no Hookwire server answers at {address}"):
        hookwire.connect(address)
    assert time.monotonic() - start < 5


def test_something_listens_and_says_nothing() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        start = time.monotonic()
        with pytest.raises((hookwire.DeadlineError, hookwire.UnavailableError)):
            hookwire.connect(f"127.0.0.1:{mute.getsockname()[1]}", timeout=0.5)
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("address", ["", "localhost", "host:port", ":"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        hookwire.connect(address)


def test_no_tokenizer() -> None:
    server = FakeServer(files=None)
    with hookwire.connect(server.address, quiet=True) as model:
        with pytest.raises(hookwire.NoTokenizerError):
            model("a small step")
        model([[1, 2], [3]])  # token ids need none
        assert server.calls.count("get_tokenizer") == 1
    server.stop()


def test_an_http_proxy_is_not_asked(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    hookwire.connect(server.address, quiet=True).close()


def test_it_says_once_what_it_is_connected_to(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with hookwire.connect(server.address) as model:
        model([[1]])
        model([[1]])
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "fake" in said
    assert "float32" in said
    assert "numerics=reference" in said


def test_a_warning_points_at_the_users_line() -> None:
    # A package of a user's, whose name begins like ours.
    code = "from hookwire import errors\ndef use():\n    errors.warn('look', errors.PaddingWarning)"
    namespace = {"__name__": "hookwire_experiments"}
    exec(compile(code, "experiments.py", "exec"), namespace)
    use: Any = namespace["use"]
    with pytest.warns(hookwire.PaddingWarning, match="look") as caught:
        use()
    assert caught[0].filename == "experiments.py"


@pytest.mark.parametrize("name", ["\ud800", "blocks.1.\udcff", "x\ud800y"])
def test_errors_and_warnings_can_be_printed(model: hookwire.RemoteModel, name: str) -> None:
    _, cache = model.run_with_cache([[1, 2]])
    for call in (
        lambda: cache[name],
        lambda: cache[name, 1],
        lambda: getattr(cache, name),
        lambda: getattr(model, name),
        lambda: model.hook_dict[name],
        lambda: model.run_with_cache([[1, 2]], names_filter=name),
        lambda: model.run_with_hooks([[1, 2]], fwd_hooks=[(name, hookwire.ops.zero())]),
        lambda: model.weights[name],
    ):
        with pytest.raises(hookwire.HookwireError) as caught:
            call()
        for said in (str(caught.value), str(caught.value.args)):
            said.encode()
    with pytest.warns(hookwire.HookwireWarning) as warned:
        errors.warn(name, hookwire.HookwireWarning)
    str(warned[0].message).encode()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", r"127\.0\.0\.1:1: no server listens there \(Connection refused\)$"),
        ("unix:/no/such/socket", r"there is no such socket \(No such file or directory\)$"),
    ],
)
async def test_a_server_that_is_not_there_is_said_without_grpcs_words(
    address: str, said: str
) -> None:
    with pytest.raises(hookwire.UnavailableError, match=said):
        hookwire.connect(address)
    with pytest.raises(hookwire.UnavailableError, match=said):
        await hookwire.aio.connect(address)


def test_a_cause_that_is_not_known_is_quoted() -> None:
    refused = "last error: UNKNOWN: ipv4:10.0.0.1:1: Failed to connect to remote host: Odd"
    found = status.from_rpc(_RpcError(grpc.StatusCode.UNAVAILABLE, refused), "host:1")
    assert refused in str(found)
