"""The asynchronous twin of the package: the same names, with `await`.

model = await hookwire.aio.connect("127.0.0.1:7431")
logits, cache = await model.run_with_cache(prompt, names_filter="blocks.*.hook_resid_post")
async for name, tensor in model.stream(prompt, "blocks.*.attn.hook_pattern"):
    ...
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, NoReturn, ParamSpec, TypeVar

from hookwire import errors
from hookwire._proto import service_pb2
from hookwire.answer.entries import Entry
from hookwire.answer.plan import Plan
from hookwire.api.blocking import RemoteModel
from hookwire.api.session import (
    Activation,
    CallOptions,
    Options,
    Run,
    RunOptions,
    Session,
    Wishes,
    no_copy_of_a_stream,
    refuse,
    returned,
)
from hookwire.api.standing import HooksInForce
from hookwire.ask import inputs
from hookwire.ask.filters import NamesFilter
from hookwire.errors import arguments
from hookwire.facts import config, dtypes
from hookwire.facts.catalogue import Catalogue
from hookwire.text.tokenizer import Tokenizer
from hookwire.weights import disk_cache
from hookwire.wire import peer, rpc
from hookwire.wire.asynchronous import AsyncConnection
from hookwire.wire.blocking import Connection

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

Hooks = Sequence[tuple[Any, Any]]
P = ParamSpec("P")
T = TypeVar("T")


@arguments.checked("hookwire.aio.connect")
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
    peer.seconds(timeout)
    connection = AsyncConnection(address)
    wishes = Wishes(tensors, quiet, disk_cache(cache_weights), shared_memory)
    try:
        answer, every = await _meet(connection, timeout)
        model = AsyncRemoteModel(connection, answer, wishes, every)
    except BaseException:
        await connection.close()
        raise
    model._say_hello()
    return model


async def _meet(
    connection: AsyncConnection, timeout: float
) -> tuple[service_pb2.GetModelResponse, Catalogue]:
    """What the server holds, and its hook points: both of one load."""
    for _ in range(rpc.MEETINGS):
        answer = await connection.get_model(timeout)
        with contextlib.suppress(errors.LoadChangedError):  # it was started again just now
            every = await connection.list_hooks(answer.server.load_id)
            return answer, Catalogue(every.hooks)
    raise rpc.restless(connection.address)


async def _results(connection: AsyncConnection, run: Run) -> AsyncGenerator[Entry, None]:
    """The results of a run, each as soon as it is whole. Calls functions as their turn comes."""
    made, interaction = run.request, None
    if made.interacts:
        interaction = connection.interact(made, run.timeout, run.stage)
    events = (
        interaction.events()
        if interaction
        else connection.run(made.message, run.timeout, run.stage)
    )
    try:
        with made.blaming():
            async for event in events:
                for entry in run.feed(event):
                    if entry.callback is None:
                        yield entry
                        continue
                    assert interaction is not None
                    visit = run.visit(entry)
                    for message in visit.answer(await visit.call_and_wait()):
                        await interaction.send(message)
        run.finish()
    finally:
        await events.aclose()
        run.close()


class AsyncResultStream:
    """The tensors of a run, each as soon as it is complete. See `hookwire.ResultStream`."""

    def __init__(self, model: AsyncRemoteModel, prepare: Any) -> None:
        self._model = model
        self._prepare = prepare
        self._run: Run | None = None
        self._iterator = self._iterate()

    async def _iterate(self) -> AsyncIterator[Activation]:
        run = self._run = await self._prepare
        entries = _results(self._model._connection, run)
        try:
            async for entry in entries:
                yield run.activation(entry)
                entry.array = None
        finally:
            await entries.aclose()

    def __aiter__(self) -> AsyncIterator[Activation]:
        return self

    def __iter__(self) -> NoReturn:
        """An asynchronous stream is not iterated over like this.

        Raises:
            ArgumentTypeError: always; it says how it is.
        """
        self._prepare.close()
        raise errors.ArgumentTypeError(
            "the stream of an asynchronous model is read with async for: "
            "async for name, tensor in model.stream(…)"
        )

    def __reduce__(self) -> Any:
        raise no_copy_of_a_stream()

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
    signature = inspect.signature(method)

    def call(
        model: AsyncRemoteModel, /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]:
        signature.bind(model, *args, **kwargs)  # a wrong call raises here, not where it is awaited
        return model._under(model._hooks_in_force(), lambda: method(model, *args, **kwargs))

    functools.update_wrapper(call, method)
    return call


def _unpickled(cls: type[AsyncRemoteModel], state: dict[str, Any]) -> AsyncRemoteModel:
    answer = service_pb2.GetModelResponse.FromString(state["answer"])
    model = cls(AsyncConnection(state["address"]), answer, state["wishes"], None)
    model._keep(state["hooks"])
    return model


@arguments.checked_methods("model")
class AsyncRemoteModel(Session):
    """A model that a server holds. Made by `hookwire.aio.connect`.

    The methods are those of `hookwire.RemoteModel`, as coroutines. Belongs to one event loop at a
    time. Can be pickled, as a `RemoteModel` can, but does not survive a fork.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        answer: service_pb2.GetModelResponse,
        wishes: Wishes,
        every: Catalogue | None,
    ) -> None:
        super().__init__(connection.address, answer, wishes)
        self._connection = connection
        connection.peer.remember(answer)
        if wishes.shared_memory:
            connection.shared_memory.offer(answer.server)
        self._blocking: Connection | None = None
        # The standing hooks of the call that is being prepared; each call sets its own.
        self._called_with: contextvars.ContextVar[HooksInForce | None] = contextvars.ContextVar(
            "standing hooks", default=None
        )
        self._catalogue = every

    def _blocking_connection(self) -> Connection:
        self._connection.peer.check_open()
        if self._blocking is None:
            self._blocking = Connection(self._connection.address)
            self._blocking.peer.remember(self._answer)
        return self._blocking

    async def reconnect(self, timeout: float = 5.0) -> bool:
        """Takes what the server holds now. See `hookwire.RemoteModel.reconnect`."""
        self._connection.reopen()
        answer, every = await _meet(self._connection, timeout)
        self._check_hooks(every)
        with self._lock, self._weights_lock:
            changed = self._renew(answer)
            self._catalogue = every
            self._blocking = None
        if self._wishes.shared_memory:
            self._connection.shared_memory.offer(answer.server)
        self._say_hello()
        return changed

    def _again(self) -> tuple[Callable[[dict[str, Any]], RemoteModel], dict[str, Any]]:
        return RemoteModel._described, self._description()

    def __reduce__(self) -> Any:
        return _unpickled, (type(self), self._pickled())

    async def close(self) -> None:
        """Ends the connection.

        Runs that are under way end with a CancelledError, later calls with a ClosedError.
        """
        await self._connection.close()
        if self._blocking is not None:
            self._blocking.close()

    async def __aenter__(self) -> Self:
        """The model, which is closed at the end of the block.

        Raises:
            ClosedError: it is closed already.
        """
        self._connection.peer.check_open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __enter__(self) -> NoReturn:
        """An asynchronous model is not entered like this.

        Raises:
            ArgumentTypeError: always; it says how it is.
        """
        raise errors.ArgumentTypeError(
            "an asynchronous model is entered with async with: "
            "async with await hookwire.aio.connect(address) as model"
        )

    def __exit__(self, *_: object) -> None:
        """As `__enter__`."""

    async def server_load(self) -> config.ServerLoad:
        """As `hookwire.RemoteModel.server_load`."""
        return config.server_load((await self._connection.get_model(None)).load)

    def catalogue(self) -> Catalogue:
        """The hook points. Asking for them blocks, which a model that was pickled does once."""
        if self._catalogue is None:
            answer = self._blocking_connection().list_hooks(self._load_id)
            self._catalogue = Catalogue(answer.hooks)
        return self._catalogue

    def _get_tokenizer(self) -> Tokenizer:
        if self._no_tokenizer is not None:
            raise self._no_tokenizer
        if self._tokenizer is None:
            # A method of a cache needs it, which blocks as it does for weights.
            files = self._blocking_connection().get_tokenizer(self._load_id)
            return self._keep_tokenizer(files)
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
                return await self._ask_for_tokenizer()
            except errors.NoTokenizerError as error:
                self._no_tokenizer = error
                raise
        return self._tokenizer

    async def _ask_for_tokenizer(self) -> Tokenizer:
        load_id = self._load_id
        files = await self._connection.get_tokenizer(load_id)
        if load_id != self._load_id:  # `reconnect` was faster
            return await self.tokenizer()
        return self._keep_tokenizer(files)

    async def to_tokens(
        self,
        input: str | Sequence[str],  # noqa: A002 - TransformerLens's name
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
        move_to_device: bool = True,
        truncate: bool | None = None,
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

    async def get_token_position(
        self,
        single_token: str | int,
        input: Any,  # noqa: A002 - TransformerLens's name
        mode: str = "first",
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
    ) -> int:
        """Where a token stands. See `Tokenizer.get_token_position`."""
        return (await self.tokenizer()).get_token_position(
            single_token, input, mode, prepend_bos, padding_side
        )

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
        if device is not None:
            dtypes.check_device(device, self._use_torch)
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
        return_cache_object: bool = True,
        remove_batch_dim: bool = False,
        stop_at_layer: int | None = None,
        start_at_layer: int | None = None,
        pos_slice: Any = None,
        incl_bwd: bool = False,
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
        fwd_hooks: Hooks = (),
        return_type: str | None = "logits",
        loss_per_token: bool = False,
        logits_pos: Any = None,
        tokens: Any = None,
        device: Any = None,
        **options: Unpack[RunOptions],
    ) -> Plan:
        """What a run would send. See `hookwire.RemoteModel.plan`."""
        del return_cache_object, reset_hooks_end, clear_contexts, device
        refuse(incl_bwd=incl_bwd)
        run = await self._prepare(
            input,
            Options.of(self.plan, options),
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
        message = run.request.plan_message()
        with run.request.blaming():
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
        if self._catalogue is None:
            load_id = self._load_id
            every = await self._connection.list_hooks(load_id)
            if load_id == self._load_id:  # else `reconnect` was faster
                self._catalogue = Catalogue(every.hooks)
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
        entries = _results(self._connection, run)
        try:
            async for _ in entries:
                pass
        finally:
            await entries.aclose()
        return run
