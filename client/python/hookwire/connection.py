"""The blocking connection to a server."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from typing import Any

import grpc

from hookwire import errors, rpc, weights
from hookwire._proto import service_pb2
from hookwire.request import Request
from hookwire.shared_memory import SharedMemory
from hookwire.wire import Event


class Connection:
    """One gRPC channel and the calls on it, with typed errors.

    Safe to use from several threads. It does not survive a fork: connect again in the child.
    """

    def __init__(self, address: str) -> None:
        self.address = rpc.check_address(address)
        self.shared_memory = SharedMemory()
        self._channel = grpc.insecure_channel(address, options=rpc.CHANNEL_OPTIONS)
        self._get_model = rpc.GET_MODEL.bind(self._channel)
        self._list_hooks = rpc.LIST_HOOKS.bind(self._channel)
        self._get_tokenizer = rpc.GET_TOKENIZER.bind(self._channel)
        self._get_weight = rpc.GET_WEIGHT.bind(self._channel)
        self._plan = rpc.PLAN.bind(self._channel)
        self._run = rpc.RUN.bind(self._channel)
        self._interact = rpc.INTERACT.bind(self._channel)

    def get_model(self, timeout: float | None = None) -> service_pb2.GetModelResponse:
        """The model and the server."""
        response: service_pb2.GetModelResponse = self._call(
            self._get_model, service_pb2.GetModelRequest(), timeout
        )
        return response

    def list_hooks(self) -> service_pb2.ListHooksResponse:
        """All hook points."""
        response: service_pb2.ListHooksResponse = self._call(
            self._list_hooks, service_pb2.ListHooksRequest(), None
        )
        return response

    def get_tokenizer(self) -> dict[str, bytes]:
        """The checkpoint's tokenizer files."""
        try:
            return rpc.join_files(self._get_tokenizer(service_pb2.GetTokenizerRequest()))
        except grpc.RpcError as error:
            raise errors.from_rpc(error, self.address) from None

    def get_weight(self, name: str, rows: Sequence[int] | None) -> weights.Fetched:
        """A parameter, or some of its rows."""
        try:
            return weights.join(self._get_weight(weights.request(name, rows)))
        except grpc.RpcError as error:
            raise errors.from_rpc(error, self.address) from None

    def plan(
        self, request: service_pb2.PlanRequest, timeout: float | None
    ) -> service_pb2.PlanResponse:
        """A dry run."""
        response: service_pb2.PlanResponse = self._call(self._plan, request, timeout)
        return response

    def run(self, request: service_pb2.RunRequest, timeout: float | None) -> Iterator[Event]:
        """The events of a run. Closing the iterator cancels it."""
        segment = self.shared_memory.idle() or self.shared_memory.connect()
        with self.shared_memory.lend(segment, request.spec):
            call = self._run(request, timeout=timeout)
            try:
                for event in call:
                    yield segment.resolve(event) if segment else event
            except grpc.RpcError as error:
                raise errors.from_rpc(error, self.address) from None
            finally:
                call.cancel()

    def interact(self, made: Request, timeout: float | None) -> Interaction:
        """A run whose functions run here. Closing its iterator cancels it."""
        return Interaction(self._interact, self.address, made, timeout)

    def _call(self, method: Any, request: Any, timeout: float | None) -> Any:
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise errors.from_rpc(error, self.address) from None

    def close(self) -> None:
        """Ends the connection, and every run on it."""
        self._channel.close()
        self.shared_memory.close()


class Interaction:
    """The events of an interactive run, and what is sent to it meanwhile."""

    def __init__(self, method: Any, address: str, made: Request, timeout: float | None) -> None:
        self._address = address
        self._outgoing: queue.SimpleQueue[service_pb2.InteractRequest | None] = queue.SimpleQueue()
        for message in rpc.opening(made.message.spec, made.uploads):
            self._outgoing.put(message)
        self._call = method(iter(self._outgoing.get, None), timeout=timeout)

    def send(self, message: service_pb2.InteractRequest) -> None:
        """Sends one message; does not wait."""
        self._outgoing.put(message)

    def events(self) -> Iterator[Event]:
        """The events. Closing the iterator cancels the run."""
        try:
            yield from self._call
        except grpc.RpcError as error:
            raise errors.from_rpc(error, self._address) from None
        finally:
            self._call.cancel()
            # Ends the thread that sends.
            self._outgoing.put(None)
