"""A model on another machine, used as TransformerLens's model is used."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from hookwire import errors
from hookwire._proto import service_pb2
from hookwire.answer import plan as plans
from hookwire.answer.plan import Plan
from hookwire.answer.run import Run
from hookwire.api.asynchronous.calls import AsyncCalls
from hookwire.api.asynchronous.mapping import mapped
from hookwire.api.asynchronous.streams import AsyncResultStream, results
from hookwire.api.blocking.model import RemoteModel  # asynchronous only
from hookwire.api.calls import Call, Map
from hookwire.api.lens import LayerAnswers, Lens
from hookwire.api.preparing import prepare
from hookwire.api.session import Session
from hookwire.api.standing import HooksInForce
from hookwire.api.steps import Steps, taken
from hookwire.api.wishes import Wishes
from hookwire.errors import arguments
from hookwire.facts import config, dtypes
from hookwire.facts.catalogue import Catalogue
from hookwire.facts.ids import one_prompt, token_ids
from hookwire.text.tokenizer import Tokenizer
from hookwire.weights import disk_cache
from hookwire.wire import peer, rpc
from hookwire.wire.asynchronous import AsyncConnection

if TYPE_CHECKING:
    from typing_extensions import Self


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
    """Connects to a server.

    Args:
        address: "host:port", or a gRPC URI such as "unix:/run/hookwired.sock".
        tensors: the kind of results: "torch", "numpy" (with `ml_dtypes` for bfloat16), or "auto",
            which is torch if it is installed.
        timeout: seconds to wait for the server's first answer.
        quiet: print nothing. By default, one line on stderr says what the model is, once in a
            process for each load of a server.
        cache_weights: True keeps fetched weights on disk, in the user's cache directory (see
            `hookwire.weights`); a path names another directory; False keeps none.
        shared_memory: receive large results through shared memory if the server runs on this host
            as the same user. The results are the same.

    Returns:
        The model, connected.

    Raises:
        UnavailableError: no server answers at the address.
        DeadlineError: the server did not answer within `timeout`.
        ArgumentError, ArgumentTypeError: an argument that cannot be.
    """
    peer.seconds(timeout)
    connection = AsyncConnection(address)
    wishes = Wishes(tensors, quiet, disk_cache(cache_weights), shared_memory)
    try:
        answer, every = await _meet(connection, timeout, connection.hooks_at_once)
        model = AsyncRemoteModel(connection, answer, wishes, every)
    except BaseException:
        await connection.close()
        raise
    model._say_hello()
    return model


async def _meet(
    connection: AsyncConnection, timeout: float, wants_hooks: bool
) -> tuple[service_pb2.GetModelResponse, Catalogue | None]:
    """What the server holds, and its hook points where they are wanted: both of one load."""
    for _ in range(rpc.MEETINGS):
        answer = await connection.get_model(timeout)
        if not wants_hooks:
            return answer, None
        with contextlib.suppress(errors.LoadChangedError):  # it was started again just now
            every = await connection.list_hooks(answer.server.load_id)
            return answer, Catalogue(every.hooks)
    raise rpc.restless(connection.address)


def _unpickled(cls: type[AsyncRemoteModel], state: dict[str, Any]) -> AsyncRemoteModel:
    model = cls._described(state)
    model._keep(state["hooks"])
    return model


@arguments.checked_methods("model")
class AsyncRemoteModel(AsyncCalls, Session):
    """A model on a server. `hookwire.aio.connect` returns one.

    The methods have TransformerLens's names, order of arguments and defaults. Results have the
    shape [batch, pos, …]; positions that are padding are zero.

    Several threads may use a blocking model, and in a forked process it connects again by itself.
    An asynchronous model belongs to one event loop at a time, and cannot be used after a fork. A
    pickled model holds the address, the options, the hooks and the server's description of itself;
    it connects when it is first used. If the server was restarted with another model or other
    settings, calls raise LoadChangedError until you call `reconnect`.

    Attributes:
        cfg: the model's configuration, a `Config`.
        server: the server that holds the model, a `ServerInfo`.
        last_receipt: the `Receipt` of the run that ended last, on any thread; None before the
            first.
    """

    _connection: AsyncConnection

    def __init__(
        self,
        connection: AsyncConnection,
        answer: service_pb2.GetModelResponse,
        wishes: Wishes,
        every: Catalogue | None = None,
    ) -> None:
        super().__init__(connection, answer, wishes)
        self._catalogue = every

    @classmethod
    def _described(cls, state: dict[str, Any]) -> Self:
        """The model of a `_description`. It connects when it is first used."""
        answer = service_pb2.GetModelResponse.FromString(state["answer"])
        return cls(AsyncConnection(state["address"]), answer, state["wishes"])

    async def reconnect(self, timeout: float = 5.0) -> bool:
        """Connects again, to what the server has loaded now.

        Use it after a LoadChangedError or after `close`. The model then has the configuration, hook
        points, tokenizer and weights of the new load, and later runs use it. It keeps the address,
        the options of `connect`, the hooks of `add_hook`, and the tokenizer's
        `default_prepend_bos`, `padding_side` and `truncation_side`. Caches of earlier runs keep
        their tensors.

        Args:
            timeout: seconds to wait for the server's first answer.

        Returns:
            Whether the server has another load than before.

        Raises:
            HookNotFoundError: the new model does not have the hook points of some added hooks; the
                message names them. The model is then unchanged.
            UnsupportedError: the model belongs to a bridge that `hookwire.transformer_lens.boot`
                made, which cannot change its load.
            UnavailableError, DeadlineError: as in `connect`.
        """
        self._check_may_reconnect()
        self._connection.reopen()
        wants_hooks = self._connection.hooks_at_once or bool(self._hooks_in_force())
        answer, every = await _meet(self._connection, timeout, wants_hooks)
        return self._take(answer, every)

    def _again(self) -> tuple[Callable[[dict[str, Any]], RemoteModel], dict[str, Any]]:
        return RemoteModel._described, self._description()

    def __reduce__(self) -> Any:
        return _unpickled, (type(self), self._pickled())

    async def close(self) -> None:
        """Closes the connection.

        Runs that have started raise CancelledError, and later calls raise ClosedError until
        `reconnect` is called. Closing twice has no effect.
        """
        self._kept.memory.clear()
        await self._connection.close()

    async def __aenter__(self) -> Self:
        """Returns the model, which is closed at the end of the block.

        Raises:
            ClosedError: it is closed already.
        """
        self._connection.peer.check_open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __enter__(self) -> NoReturn:  # asynchronous only
        """An asynchronous model cannot be entered with a plain `with`.

        Raises:
            ArgumentTypeError: always; the message says how to enter it.
        """
        raise errors.ArgumentTypeError(
            "an asynchronous model is entered with async with: "
            "async with await hookwire.aio.connect(address) as model"
        )

    def __exit__(self, *_: object) -> None:  # asynchronous only
        """As `__enter__`."""

    async def server_load(self) -> config.ServerLoad:
        """Returns what the server is doing now: runs in its queue, unread results, memory.

        Raises:
            UnavailableError: no server answers.
        """
        return config.server_load((await self._connection.get_model(None)).load)

    # blocking: @property
    async def tokenizer(self) -> Tokenizer:
        """The checkpoint's `Tokenizer`. It is fetched from the server once.

        Raises:
            NoTokenizerError: the checkpoint has no tokenizer.
        """
        return await self._load_tokenizer()

    async def _load_tokenizer(self) -> Tokenizer:
        await self._fetch_tokenizer()  # asynchronous only
        return self._get_tokenizer()

    async def _fetch_tokenizer(self) -> None:  # asynchronous only
        """Gets the tokenizer without blocking; what needs one that is not there says so itself."""
        if self._tokenizer is not None or self._no_tokenizer is not None:
            return
        load_id = self._load_id
        try:
            files = await self._connection.get_tokenizer(load_id)
        except errors.NoTokenizerError as error:
            self._no_tokenizer = error
            return
        if load_id != self._load_id:  # `reconnect` was faster
            await self._fetch_tokenizer()
        elif self._tokenizer is None:
            self._keep_tokenizer(files)

    async def _fetch_hooks(self) -> None:  # asynchronous only
        """Gets the hook points without blocking."""
        if self._catalogue is None:
            load_id = self._load_id
            every = await self._connection.list_hooks(load_id)
            if load_id == self._load_id:  # else `reconnect` was faster
                self._catalogue = Catalogue(every.hooks)

    async def to_tokens(
        self,
        input: str | Sequence[str],  # noqa: A002 - TransformerLens's name
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
        move_to_device: bool = True,
        truncate: bool | None = None,
    ) -> Any:
        """Encodes text as token ids, as `Tokenizer.to_tokens` does.

        Args:
            input: a text, or a list of texts.
            prepend_bos: put a beginning-of-sequence token first. Default: the tokenizer's
                `default_prepend_bos`.
            padding_side: "left" or "right": on which side shorter texts are padded. Default: the
                tokenizer's `padding_side`.
            move_to_device: has no effect; it keeps TransformerLens's order of arguments.
            truncate: True: cut texts that have more than `cfg.n_ctx` tokens; False: do not.
                Default: cut, with a warning.

        Returns:
            Ids [batch, pos], int64; a single text is a batch of one.

        Raises:
            NoTokenizerError: the checkpoint has no tokenizer.
            HookwireError: as in `Tokenizer.to_tokens`.
        """
        tokenizer = await self._load_tokenizer()
        return tokenizer.to_tokens(input, prepend_bos, padding_side, move_to_device, truncate)

    async def to_string(self, tokens: Any) -> str | list[str]:
        """Decodes token ids to text, as `Tokenizer.to_string` does.

        Args:
            tokens: ids [pos] or [batch, pos].

        Returns:
            A string for [pos]; a list of strings for [batch, pos].

        Raises:
            NoTokenizerError: the checkpoint has no tokenizer.
            HookwireError: as in `Tokenizer.to_string`.
        """
        tokenizer = await self._load_tokenizer()
        return tokenizer.to_string(tokens)

    async def to_str_tokens(
        self,
        input: Any,  # noqa: A002 - TransformerLens's name
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
    ) -> Any:
        """Returns the text of each token, as `Tokenizer.to_str_tokens` does.

        Args:
            input: a text, token ids [pos] or [1, pos], or a list of these.
            prepend_bos: for text: as in `to_tokens`.
            padding_side: for text: as in `to_tokens`.

        Returns:
            A list with a string for each token; for a list, a list of such lists.

        Raises:
            NoTokenizerError: the checkpoint has no tokenizer.
            HookwireError: as in `Tokenizer.to_str_tokens`.
        """
        tokenizer = await self._load_tokenizer()
        return tokenizer.to_str_tokens(input, prepend_bos, padding_side)

    async def to_single_token(self, string: str) -> int:
        """Returns the id of a string that is one token.

        Args:
            string: the text of the token, with its leading space if it has one: " Mary".

        Raises:
            NotASingleTokenError: the string is not exactly one token, or the vocabulary lacks it.
            NoTokenizerError: the checkpoint has no tokenizer.
        """
        tokenizer = await self._load_tokenizer()
        return tokenizer.to_single_token(string)

    async def to_single_str_token(self, int_token: int) -> str:
        """Returns the text of one token id.

        Args:
            int_token: the id.

        Raises:
            TokenOutOfRangeError: the vocabulary does not have it.
            NoTokenizerError: the checkpoint has no tokenizer.
        """
        tokenizer = await self._load_tokenizer()
        return tokenizer.to_single_str_token(int_token)

    async def get_token_position(
        self,
        single_token: str | int,
        input: Any,  # noqa: A002 - TransformerLens's name
        mode: str = "first",
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
    ) -> int:
        """Returns the position of a token in a text or in token ids, counted from 0.

        Args:
            single_token: an id, or a string that is one token.
            input: a text, or token ids [pos] or [1, pos].
            mode: "first" or "last": which position, if the token occurs more than once.
            prepend_bos: for text: as in `to_tokens`.
            padding_side: for text: as in `to_tokens`.

        Raises:
            NotASingleTokenError: the string is not one token.
            ArgumentError: the token does not occur, or `mode` is another word.
            NoTokenizerError: the checkpoint has no tokenizer.
        """
        tokenizer = await self._load_tokenizer()
        return tokenizer.get_token_position(single_token, input, mode, prepend_bos, padding_side)

    async def logit_lens(
        self,
        input: Any,  # noqa: A002 - TransformerLens's name
        layers: Any = None,
        pos: Any = None,
        *,
        prepend_bos: bool | None = None,
        steps: Steps = taken,
    ) -> LayerAnswers:
        """Computes on the server what the model would answer if it ended after each layer.

        The residual stream after each layer goes through the model's own final norm, unembedding
        and softcap, as in "interpreting GPT: the logit lens" (nostalgebraist, 2020). Only the
        stream and the logits are sent. `cache.logit_lens` computes the lens in this process, with
        more options, and fetches the unembedding for it.

        Args:
            input: one prompt: text, or token ids [pos] or [1, pos].
            layers: which layers: an int, a list or a slice. Default: all.
            pos: which positions: an int, a list or a slice. Default: all.
            prepend_bos: for text: put a beginning-of-sequence token first. Default: the tokenizer's
                `default_prepend_bos`, which is True unless you set it.
            steps: a function that is called with the list of runs and a title, and yields the
                runs, such as `tqdm.tqdm`, which shows a bar. Default: no bar.

        Returns:
            A `LayerAnswers`: the most likely token after each layer at each position, int64
            [layer, pos], and its probability, float64 [layer, pos].

        Raises:
            ArgumentError: more than one prompt.
            PositionOutOfRangeError: no such layer or position.
            HookwireError: as in `run_with_cache`.
        """
        if isinstance(input, str):
            # One that is too long is refused by the server, not cut.
            ids = await self.to_tokens(input, prepend_bos=prepend_bos, truncate=False)
        else:
            ids = token_ids(input, "input", "text or token ids")
        lens = Lens(self, one_prompt(dtypes.to_numpy(ids), "input"), layers, pos)
        logits, cache = await self.run_with_cache(**lens.first())
        for piece in steps(lens.begin(logits, cache), "logit lens"):
            lens.take(piece, await self.run_with_hooks(**lens.run(piece)))
        return lens.result()

    # How the calls are carried out. A run has the standing hooks of the moment of its call, not of
    # when it is awaited: what follows up to the first `await` is done at once.

    def _call(self, call: Call) -> Coroutine[Any, Any, Any]:
        call.check(self)
        return self._result_of(call, self._hooks_in_force())

    async def _result_of(self, call: Call, standing: HooksInForce) -> Any:
        return call.result(self, await self._run_of(call, standing))

    async def _run_of(self, call: Call, standing: HooksInForce) -> Run:
        """A run of a call, which has ended."""
        run = await self._prepare(call, standing)
        try:
            entries = results(self._connection, run)
            try:
                async for _ in entries:
                    pass
            finally:
                await entries.aclose()
        finally:
            call.after(self, run)
        return run

    def _map(self, call: Map) -> AsyncIterator[tuple[Any, Any]]:
        call.check(self)
        return mapped(self, call, self._hooks_in_force())

    def _plan(self, call: Call) -> Coroutine[Any, Any, Plan]:
        call.check(self)
        return self._plan_of(call, self._hooks_in_force())

    async def _plan_of(self, call: Call, standing: HooksInForce) -> Plan:
        run = await self._prepare(call, standing)
        with run.request.blaming():
            message = run.request.plan_message()
            return plans.made(run.assembly, await self._connection.plan(message, run.timeout))

    def _stream(self, call: Call) -> AsyncResultStream:
        call.check(self)
        prepare = functools.partial(self._prepare, call, self._hooks_in_force())
        return AsyncResultStream(self._connection, prepare)

    async def _prepare(self, call: Call, standing: HooksInForce) -> Run:
        """The run of a call, ready to be sent."""
        await self._fetch_hooks()  # asynchronous only
        if call.needs_tokenizer():  # asynchronous only
            await self._fetch_tokenizer()
        return prepare(self, call, standing)
