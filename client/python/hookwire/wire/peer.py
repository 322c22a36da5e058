"""What a client knows of the server that it speaks to, and what it says when a call fails."""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Callable
from typing import Any

import grpc

from hookwire import errors
from hookwire._proto import service_pb2
from hookwire.errors import wording
from hookwire.wire import status

# gRPC counts nanoseconds in 64 bits from 1970 on; more seconds than this, 30 years, are no limit.
_FOR_EVER = 1e9


class Call:
    """One call, for the message with which it may fail.

    Args:
        what: the call in words, such as "the run".
        timeout: the seconds that it may take; None or more than 10⁹: no limit.
        stage: says how far it has come, as a clause such as "no layer had been computed"; an empty
            string: nothing has come.

    Raises:
        ArgumentTypeError: a timeout that is no number.
        ArgumentError: a timeout that is negative or NaN.
    """

    def __init__(
        self, what: str, timeout: float | None = None, stage: Callable[[], str] | None = None
    ) -> None:
        self.what = what
        self.timeout = seconds(timeout)
        self.stage = stage
        self._begun = time.monotonic()

    def describe(self) -> str:
        """How far it has come; empty where nothing has come."""
        return self.stage() if self.stage else ""

    def deadline(self, address: str) -> str:
        """The sentence for a call that has taken too long."""
        limit = f"its timeout of {self.timeout:g} s" if self.timeout is not None else "its deadline"
        stage = self.describe() or (
            f"nothing had come from {address}: either no connection to a Hookwire server was made, "
            "or the server was too busy to answer"
        )
        return f"{self.what} took longer than {limit}: {stage}"


def seconds(timeout: Any) -> float | None:
    """A timeout as gRPC takes it.

    Raises:
        ArgumentTypeError: it is neither a number nor None.
        ArgumentError: it is negative, or NaN.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, numbers.Real):
        raise errors.ArgumentTypeError(f"timeout must be seconds or None, not {timeout!r}")
    limit = float(timeout)
    if math.isnan(limit) or limit < 0:
        raise errors.ArgumentError(f"timeout must be at least 0 seconds, not {timeout!r}")
    return None if limit > _FOR_EVER else limit


class Peer:
    """The server at an address: whether this side has closed, and which models it was seen to hold.

    Safe to use from several threads.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.closed = False
        # The models' names by load id.
        self._models: dict[str, str] = {}

    def remember(self, answer: service_pb2.GetModelResponse) -> None:
        """Takes note of what the server holds."""
        self._models[answer.server.load_id] = answer.model.name

    def check_load(self, answer: service_pb2.GetModelResponse, load_id: str) -> None:
        """Checks that the server still holds a load.

        Raises:
            LoadChangedError: it holds another one.
        """
        loaded = answer.server.load_id
        if load_id and loaded != load_id:
            metadata = {"expected": load_id, "loaded": loaded, "model": answer.model.name}
            raise errors.LoadChangedError(self._load_changed(metadata), metadata=metadata)

    def check_open(self) -> None:
        """Checks that `close` has not been called.

        Raises:
            ClosedError: it has.
        """
        if self.closed:
            raise errors.ClosedError(
                f"the connection to {self.address} was closed with close(): connect again, or open "
                "it again with reconnect()"
            )

    def ended_by_close(self, call: Call) -> errors.CancelledError:
        """The error of a call that was under way when the connection was closed."""
        return errors.CancelledError(
            f"{call.what} was ended, because the connection to {self.address} was closed with "
            "close()",
            code=grpc.StatusCode.CANCELLED,
        )

    def error(self, error: Any, call: Call) -> errors.HookwireError:
        """The error for a call that has failed.

        Args:
            error: what gRPC raised.
            call: the call.
        """
        made = status.from_rpc(error, self.address)
        if isinstance(made, errors.LoadChangedError) and "loaded" in made.metadata:
            made.set_message(self._load_changed(made.metadata))
        if made.code is grpc.StatusCode.CANCELLED and self.closed:
            return self.ended_by_close(call)
        if made.reason:
            return made
        if made.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            made.set_message(call.deadline(self.address))
        elif made.code is grpc.StatusCode.UNAVAILABLE and (stage := call.describe()):
            made.set_message(
                f"the connection to the server at {self.address} broke off during {call.what}: "
                f"{stage} ({wording.why_no_answer(error.details() or '')})"
            )
        elif made.code is grpc.StatusCode.UNIMPLEMENTED:
            made.set_message(
                f"what answers at {self.address} does not know the call that {call.what} needs: it "
                f"is not a Hookwire server, or is an older one ({error.details()})"
            )
        return made

    def _load_changed(self, metadata: dict[str, str]) -> str:
        expected, loaded = metadata.get("expected", ""), metadata.get("loaded", "")
        before, now = self._models.get(expected, ""), metadata.get("model", "")
        was = f"{before} (load {expected})" if before else f"load {expected}"
        holds = f"{now} (load {loaded or 'unknown'})" if now else f"load {loaded or 'unknown'}"
        what = "another model" if before != now else "other weights or other settings"
        return (
            f"the server at {self.address} was started again with {what}: it holds {holds}, and "
            f"this model was connected to {was}. Nothing was computed; model.reconnect() takes "
            "what the server holds now"
        )
