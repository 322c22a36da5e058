"""The asynchronous twin of the package: the same names, with `await`.

model = await hookwire.aio.connect("127.0.0.1:7431")
logits, cache = await model.run_with_cache(prompt, names_filter="blocks.*.hook_resid_post")
async for name, tensor in model.stream(prompt, "blocks.*.attn.hook_pattern"):
    ...
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import grpc

from hookwire import config, dtypes, errors, inputs, rpc
from hookwire._proto import service_pb2
from hookwire.catalogue import Catalogue
from hookwire.connection import Connection
from hookwire.filters import NamesFilter
from hookwire.plan import Plan
from hookwire.results import Entry
from hookwire.session import (
    Activation,
    CallOptions,
    Options,
    Run,
    RunOptions,
    Session,
    refuse,
    returned,
)
from hookwire.shared_memory import Segment, SharedMemory
from hookwire.standing import HooksInForce
from hookwire.tokens import Tokenizer
from hookwire.weights import disk_cache

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

Hooks = Sequence[tuple[Any, Any]]
P = ParamSpec("P")
T = TypeVar("T")


async def connect(
    address: str = rpc.DEFAULT_ADDRESS,
    *,
    tensors: dtypes.Tensors = "auto",
    timeout: float = 5.0,
    quiet: bool = False,
    cache_weights: bool | str | os.PathLike[str] = True,
    shared_memory: bool = True,
) -> AsyncRemoteModel:
    """Connects to a server. Arguments and errors as in `hookwire.connect`."""
    connection = AsyncConnection(address)
    try:
        answer = await connection.get_model(timeout)
        if shared_memory:
            connection.shared_memory.offer(answer.server)
        model = AsyncRemoteModel(connection, answer, tensors, await connection.list_hooks())
        model._disk = disk_cache(cache_weights)
    except BaseException:
        await connection.close()
        raise
    if not quiet:
        model._say_hello()
    return model


class AsyncConnection:
    """One gRPC channel and the calls on it, with typed errors. Belongs to one event loop."""

    def __init__(self, address: str) -> None:
        self.address = rpc.check_address(address)
        self.shared_memory = SharedMemory()
        options = [item for item in rpc.CHANNEL_OPTIONS if item[0].startswith("grpc.")]
        self._channel = grpc.aio.insecure_channel(address, options=options)
        self._get_model = rpc.GET_MODEL.bind(self._channel)
        self._list_hooks = rpc.LIST_HOOKS.bind(self._channel)
        self._get_tokenizer = rpc.GET_TOKENIZER.bind(self._channel)
        self._plan = rpc.PLAN.bind(self._channel)
        self._run = rpc.RUN.bind(self._channel)
        self._interact = rpc.INTERACT.bind(self._channel)

    async def get_model(self, seconds: float | None) -> service_pb2.GetModelResponse:
        """The model and the server."""
        response: service_pb2.GetModelResponse = await self._call(
            self._get_model, service_pb2.GetModelRequest(), seconds
        )
        return response

    async def list_hooks(self) -> service_pb2.ListHooksResponse:
        """All hook points."""
        response: service_pb2.ListHooksResponse = await self._call(
            self._list_hooks, service_pb2.ListHooksRequest(), None
        )
        return response

    async def get_tokenizer(self) -> dict[str, bytes]:
        """The checkpoint's tokenizer files."""
        try:
            call = self._get_tokenizer(service_pb2.GetTokenizerRequest())
            return rpc.join_files([chunk async for chunk in call])
        except grpc.RpcError as error:
            raise errors.from_rpc(error, self.address) from None

    async def plan(
        self, request: service_pb2.PlanRequest, seconds: float | None
    ) -> service_pb2.PlanResponse:
        """A dry run."""
        response: service_pb2.PlanResponse = await self._call(self._plan, request, seconds)
        return response

    async def results(self, run: Run) -> AsyncIterator[Entry]:
        """The results of a run, each as soon as it is whole. Closing the iterator cancels the run.

        Functions are called as their turn comes, and awaited where they are asynchronous.
        """
        made = run.request
        segment = None if made.interacts else await self._segment()
        with self.shared_memory.lend(segment, made.message.spec):
            if made.interacts:
                call = self._interact(timeout=run.timeout)
            else:
                call = self._run(made.message, timeout=run.timeout)
            try:
                if made.interacts:
                    for message in rpc.opening(made.message.spec, made.uploads):
                        await call.write(message)
                async for event in call:
                    for entry in run.feed(segment.resolve(event) if segment else event):
                        if entry.callback is None:
                            yield entry
                            continue
                        visit = run.visit(entry)
                        returned = visit.call()
                        if inspect.isawaitable(returned):
                            returned = await returned
                        for message in visit.answer(returned):
                            await call.write(message)
                run.finish()
            except grpc.RpcError as error:
                raise errors.from_rpc(error, self.address) from None
            except asyncio.InvalidStateError:
                # A write to a call that has ended: its status says why.
                raise await _why(call, self.address) from None
            finally:
                call.cancel()
                run.close()

    async def _segment(self) -> Segment | None:
        """Shared memory for one run; None where there is none."""
        segment = self.shared_memory.idle()
        if segment is None and self.shared_memory.offered:
            segment = await asyncio.to_thread(self.shared_memory.connect)
        return segment

    async def _call(self, method: Any, request: Any, seconds: float | None) -> Any:
        try:
            return await method(request, timeout=seconds)
        except grpc.RpcError as error:
            raise errors.from_rpc(error, self.address) from None

    async def close(self) -> None:
        """Ends the connection, and every run on it."""
        await self._channel.close()
        self.shared_memory.close()


async def _why(call: Any, address: str) -> errors.HookwireError:
    """The error with which a call has ended."""
    code, details = await call.code(), await call.details()
    error = grpc.aio.AioRpcError(
        code, await call.initial_metadata(), await call.trailing_metadata(), details
    )
    return errors.from_rpc(error, address)


class AsyncResultStream:
    """The tensors of a run, each as soon as it is complete. See `hookwire.model.ResultStream`."""

    def __init__(self, model: AsyncRemoteModel, prepare: Any) -> None:
        self._model = model
        self._prepare = prepare
        self._run: Run | None = None
        self._iterator = self._iterate()

    async def _iterate(self) -> AsyncIterator[Activation]:
        run = self._run = await self._prepare
        entries = self._model._connection.results(run)
        try:
            async for entry in entries:
                yield run.activation(entry)
                entry.array = None
        finally:
            await entries.aclose()  # type: ignore[attr-defined]

    def __aiter__(self) -> AsyncIterator[Activation]:
        return self

    async def __anext__(self) -> Activation:
        return await self._iterator.__anext__()

    @property
    def receipt(self) -> Any:
        """What ran, where, on which weights; None until the run has ended."""
        return None if self._run is None else self._run.assembly.receipt

    async def aclose(self) -> None:
        """Cancels what is left of the run."""
        await self._iterator.aclose()  # type: ignore[attr-defined]
        self._prepare.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _with_the_hooks_of_now(
    method: Callable[Concatenate[AsyncRemoteModel, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[AsyncRemoteModel, P], Coroutine[Any, Any, T]]:
    """A run has the standing hooks of the moment of its call, not of when it is awaited."""

    def call(
        model: AsyncRemoteModel, /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]:
        return model._under(model._hooks_in_force(), lambda: method(model, *args, **kwargs))

    functools.update_wrapper(call, method)
    return call


class AsyncRemoteModel(Session):
    """A model that a server holds. Made by `hookwire.aio.connect`.

    The methods are those of `hookwire.RemoteModel`, as coroutines. Belongs to one event loop.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        answer: service_pb2.GetModelResponse,
        tensors: dtypes.Tensors,
        hooks: service_pb2.ListHooksResponse,
    ) -> None:
        super().__init__(connection.address, answer, tensors)
        self._connection = connection
        self._blocking: Connection | None = None
        # The standing hooks of the call that is being prepared; each call sets its own.
        self._called_with: contextvars.ContextVar[HooksInForce | None] = contextvars.ContextVar(
            "standing hooks", default=None
        )
        self._catalogue = Catalogue(hooks.hooks)

    def _blocking_connection(self) -> Connection:
        if self._blocking is None:
            self._blocking = Connection(self._connection.address)
        return self._blocking

    async def close(self) -> None:
        """Ends the connection. Runs on it end with a CancelledError."""
        await self._connection.close()
        if self._blocking is not None:
            self._blocking.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def server_load(self) -> config.ServerLoad:
        """As `hookwire.RemoteModel.server_load`."""
        return config.server_load((await self._connection.get_model(None)).load)

    def catalogue(self) -> Catalogue:
        """The hook points."""
        assert self._catalogue is not None
        return self._catalogue

    def _get_tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            raise self._no_tokenizer or errors.NoTokenizerError("the checkpoint has no tokenizer")
        return self._tokenizer

    async def tokenizer(self) -> Tokenizer:
        """The checkpoint's tokenizer, asked for once.

        Raises:
            NoTokenizerError: the checkpoint has none.
        """
        if self._no_tokenizer is not None:
            raise self._no_tokenizer
        if self._tokenizer is None:
            try:
                return self._keep_tokenizer(await self._connection.get_tokenizer())
            except errors.NoTokenizerError as error:
                self._no_tokenizer = error
                raise
        return self._tokenizer

    async def to_tokens(
        self,
        input: str | Sequence[str],  # noqa: A002 - TransformerLens's name
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
        move_to_device: bool = True,
        truncate: bool = True,
    ) -> Any:
        """Text to token ids [batch, pos]. See `Tokenizer.to_tokens`."""
        tokenizer = await self.tokenizer()
        return tokenizer.to_tokens(input, prepend_bos, padding_side, move_to_device, truncate)

    async def to_string(self, tokens: Any) -> str | list[str]:
        """Token ids to text. See `Tokenizer.to_string`."""
        return (await self.tokenizer()).to_string(tokens)

    async def to_str_tokens(
        self,
        input: Any,  # noqa: A002 - TransformerLens's name
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
    ) -> Any:
        """Text or token ids to the text of each token. See `Tokenizer.to_str_tokens`."""
        return (await self.tokenizer()).to_str_tokens(input, prepend_bos, padding_side)

    async def to_single_token(self, string: str) -> int:
        """The id of a string that is one token. See `Tokenizer.to_single_token`."""
        return (await self.tokenizer()).to_single_token(string)

    async def to_single_str_token(self, int_token: int) -> str:
        """The text of one id."""
        return (await self.tokenizer()).to_single_str_token(int_token)

    @_with_the_hooks_of_now
    async def __call__(
        self,
        input: Any,  # noqa: A002 - TransformerLens's name
        return_type: str | None = "logits",
        loss_per_token: bool = False,
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
        attention_mask: Any = None,
        labels: Any = None,
        start_at_layer: int | None = None,
        stop_at_layer: int | None = None,
        *,
        logits_pos: Any = None,
        tokens: Any = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Runs the model. See `hookwire.RemoteModel.__call__`."""
        refuse(labels=labels)
        chosen = Options.of(
            self.__call__,
            options,
            prepend_bos=prepend_bos,
            padding_side=padding_side,
            attention_mask=attention_mask,
        )
        run = await self._prepare(
            input,
            chosen,
            (),
            stop_at_layer=stop_at_layer,
            start_at_layer=start_at_layer,
            tokens=tokens,
            return_type=returned(return_type, stop_at_layer),
            loss_per_token=loss_per_token,
            logits_pos=logits_pos,
        )
        return (await self._execute(run)).output()

    forward = __call__

    @_with_the_hooks_of_now
    async def run_with_hooks(
        self,
        input: Any,  # noqa: A002 - TransformerLens's name
        fwd_hooks: Hooks = (),
        bwd_hooks: Sequence[Any] = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
        return_type: str | None = "logits",
        stop_at_layer: int | None = None,
        start_at_layer: int | None = None,
        remove_batch_dim: bool = False,
        *,
        loss_per_token: bool = False,
        logits_pos: Any = None,
        tokens: Any = None,
        **options: Unpack[RunOptions],
    ) -> Any:
        """Runs the model with changes. See `hookwire.RemoteModel.run_with_hooks`."""
        refuse(bwd_hooks=bwd_hooks)
        run = await self._prepare(
            input,
            Options.of(self.run_with_hooks, options),
            fwd_hooks,
            stop_at_layer=stop_at_layer,
            start_at_layer=start_at_layer,
            tokens=tokens,
            return_type=returned(return_type, stop_at_layer),
            loss_per_token=loss_per_token,
            logits_pos=logits_pos,
        )
        self._check_batch_dim(run, remove_batch_dim)
        run.functions_see_no_batch = remove_batch_dim
        try:
            return (await self._execute(run)).output()
        finally:
            self._after_hooks(fwd_hooks, reset_hooks_end, clear_contexts)

    @_with_the_hooks_of_now
    async def run_with_cache(
        self,
        input: Any,  # noqa: A002 - TransformerLens's name
        return_cache_object: bool = True,
        remove_batch_dim: bool = False,
        names_filter: NamesFilter = None,
        stop_at_layer: int | None = None,
        start_at_layer: int | None = None,
        pos_slice: Any = None,
        incl_bwd: bool = False,
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
        *,
        fwd_hooks: Hooks = (),
        return_type: str | None = "logits",
        loss_per_token: bool = False,
        logits_pos: Any = None,
        tokens: Any = None,
        device: Any = None,
        **options: Unpack[RunOptions],
    ) -> tuple[Any, Any]:
        """Runs the model and captures. See `hookwire.RemoteModel.run_with_cache`."""
        refuse(incl_bwd=incl_bwd)
        run = await self._prepare(
            input,
            Options.of(self.run_with_cache, options),
            fwd_hooks,
            names_filter=names_filter,
            pos_slice=pos_slice,
            stop_at_layer=stop_at_layer,
            start_at_layer=start_at_layer,
            tokens=tokens,
            return_type=returned(return_type, stop_at_layer),
            loss_per_token=loss_per_token,
            logits_pos=logits_pos,
        )
        self._check_batch_dim(run, remove_batch_dim)
        try:
            await self._execute(run)
        finally:
            self._after_hooks(fwd_hooks, reset_hooks_end, clear_contexts, run)
        cache = run.cache(remove_batch_dim, device)
        return run.output(), cache if return_cache_object else cache.cache_dict

    @_with_the_hooks_of_now
    async def plan(
        self,
        input: Any,  # noqa: A002 - TransformerLens's name
        names_filter: NamesFilter = None,
        *,
        fwd_hooks: Hooks = (),
        pos_slice: Any = None,
        stop_at_layer: int | None = None,
        return_type: str | None = "logits",
        logits_pos: Any = None,
        **options: Unpack[RunOptions],
    ) -> Plan:
        """What a run would send. See `hookwire.RemoteModel.plan`."""
        run = await self._prepare(
            input,
            Options.of(self.plan, options),
            fwd_hooks,
            names_filter=names_filter,
            pos_slice=pos_slice,
            stop_at_layer=stop_at_layer,
            return_type=returned(return_type, stop_at_layer),
            logits_pos=logits_pos,
        )
        message = service_pb2.PlanRequest(spec=run.request.message.spec)
        return self._plan(run, await self._connection.plan(message, run.timeout))

    def stream(
        self,
        input: Any,  # noqa: A002 - TransformerLens's name
        names_filter: NamesFilter = None,
        *,
        fwd_hooks: Hooks = (),
        pos_slice: Any = None,
        stop_at_layer: int | None = None,
        return_type: str | None = None,
        logits_pos: Any = None,
        **options: Unpack[RunOptions],
    ) -> AsyncResultStream:
        """Yields each tensor as soon as it is complete. See `hookwire.RemoteModel.stream`."""
        chosen = Options.of(self.stream, options)
        prepare = self._under(
            self._hooks_in_force(),
            lambda: self._prepare(
                input,
                chosen,
                fwd_hooks,
                names_filter=names_filter,
                pos_slice=pos_slice,
                stop_at_layer=stop_at_layer,
                return_type=return_type,
                logits_pos=logits_pos,
            ),
        )
        return AsyncResultStream(self, prepare)

    @_with_the_hooks_of_now
    async def log_probs(
        self,
        input: Any,  # noqa: A002 - TransformerLens's name
        targets: Any = None,
        pos: Any = -1,
        *,
        fwd_hooks: Hooks = (),
        **options: Unpack[RunOptions],
    ) -> Any:
        """Log-probabilities of target tokens. See `hookwire.RemoteModel.log_probs`."""
        if targets is not None:
            await self._try_tokenizer()
        run = await self._prepare(
            input,
            Options.of(self.log_probs, options),
            fwd_hooks,
            return_type=None,
            targets=targets,
            pos=pos,
            wants_log_probs=True,
        )
        return (await self._execute(run)).log_probs()

    async def _prepare(self, value: Any, options: Options, hooks: Hooks, **wanted: Any) -> Run:
        given = value if wanted.get("start_at_layer") is None else wanted.get("tokens")
        if inputs.needs_tokenizer(given, options.padding_side):
            await self._try_tokenizer()
        return self._run(value, options, hooks, standing=self._called_with.get(), **wanted)

    async def _under(self, standing: HooksInForce, work: Callable[[], Awaitable[T]]) -> T:
        """Prepares runs with these hooks, whatever has been added or removed meanwhile."""
        self._called_with.set(standing)
        return await work()

    async def _try_tokenizer(self) -> None:
        """Gets the tokenizer; what needs one that is not there says so itself."""
        try:
            await self.tokenizer()
        except errors.NoTokenizerError:
            return

    async def _execute(self, run: Run) -> Run:
        entries = self._connection.results(run)
        try:
            async for _ in entries:
                pass
        finally:
            await entries.aclose()  # type: ignore[attr-defined]
        return run
