"""A model on another machine, used as TransformerLens's model is used."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hookwire import errors
from hookwire._proto import service_pb2
from hookwire.answer.entries import Entry
from hookwire.answer.plan import Plan
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
from hookwire.ask.filters import NamesFilter
from hookwire.errors import arguments
from hookwire.facts import config, dtypes
from hookwire.facts.catalogue import Catalogue
from hookwire.text.tokenizer import Tokenizer
from hookwire.weights import disk_cache
from hookwire.wire import peer, rpc
from hookwire.wire.blocking import Connection

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

Hooks = Sequence[tuple[Any, Any]]


@arguments.checked("hookwire.connect")
def connect(
    address: str = rpc.DEFAULT_ADDRESS,
    *,
    tensors: dtypes.Tensors = "auto",
    timeout: float = 5.0,
    quiet: bool = False,
    cache_weights: bool | str | os.PathLike[str] = True,
    shared_memory: bool = True,
) -> RemoteModel:
    """Connects to a server.

    Args:
        address: "host:port", or a gRPC URI such as "unix:/run/hookwired.sock".
        tensors: what results are: "torch", "numpy" (with `ml_dtypes` for bfloat16), or "auto":
            torch where it is installed.
        timeout: seconds to wait for the server's first answer.
        quiet: do not say on stderr what this is connected to; otherwise it is said once in a
            process for a server's load.
        cache_weights: keep fetched weights on disk, by their digest: in the user's cache directory
            (see `hookwire.weights`), in this one, or, with False, not.
        shared_memory: let large results come through memory that the server shares, where it is on
            this host and belongs to this user. They are the same as without.

    Raises:
        UnavailableError: nothing answers at the address.
        DeadlineError: nothing has answered in time.
    """
    peer.seconds(timeout)
    connection = Connection(address)
    wishes = Wishes(tensors, quiet, disk_cache(cache_weights), shared_memory)
    try:
        model = RemoteModel(connection, connection.get_model(timeout), wishes)
    except BaseException:
        connection.close()
        raise
    model._say_hello()
    return model


class ResultStream:
    """The tensors of a run, each as soon as it is complete: before the run ends.

    An iterator of `Activation`, which unpacks to `name, tensor`. Ending it early, with `close()`,
    the end of a `with` block, or by forgetting it, cancels the run. Only after the last tensor has
    been taken without an error is the run known to be whole.
    """

    def __init__(self, connection: Connection, run: Run) -> None:
        self._run = run
        self._process = os.getpid()
        # No method of this object: a stream that is forgotten must not be kept by its generator.
        self._iterator = _activations(connection, run)

    def __iter__(self) -> Iterator[Activation]:
        return self

    def __next__(self) -> Activation:
        if os.getpid() != self._process:
            raise errors.ForkedError(
                "this stream was begun in the parent process, which alone can go on with it: begin "
                "one here with model.stream(…)"
            )
        return next(self._iterator)

    def __reduce__(self) -> Any:
        raise no_copy_of_a_stream()

    @property
    def receipt(self) -> Any:
        """What ran, where, on which weights; None until the run has ended."""
        return self._run.assembly.receipt

    @property
    def run_id(self) -> str:
        """The server's name for the run; empty until it is accepted."""
        return self._run.assembly.run_id

    def close(self) -> None:
        """Cancels what is left of the run."""
        self._iterator.close()  # type: ignore[attr-defined]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _results(connection: Connection, run: Run) -> Iterator[Entry]:
    """The results of a run, each as soon as it is whole. Calls functions as their turn comes."""
    interaction = None
    if run.request.interacts:
        interaction = connection.interact(run.request, run.timeout, run.stage)
    events = (
        interaction.events()
        if interaction
        else connection.run(run.request.message, run.timeout, run.stage)
    )
    try:
        with run.request.blaming():
            for event in events:
                for entry in run.feed(event):
                    if entry.callback is None:
                        yield entry
                        continue
                    assert interaction is not None
                    visit = run.visit(entry)
                    for message in visit.answer(visit.call()):
                        interaction.send(message)
        run.finish()
    finally:
        events.close()  # type: ignore[attr-defined]
        run.close()


def _activations(connection: Connection, run: Run) -> Iterator[Activation]:
    entries = _results(connection, run)
    try:
        for entry in entries:
            yield run.activation(entry)
            # It belongs to the user now.
            entry.array = None
    finally:
        entries.close()  # type: ignore[attr-defined]


def _meet(
    connection: Connection, timeout: float, wants_hooks: bool
) -> tuple[service_pb2.GetModelResponse, Catalogue | None]:
    """What the server holds, and its hook points where they are wanted: both of one load."""
    for _ in range(rpc.MEETINGS):
        answer = connection.get_model(timeout)
        if not wants_hooks:
            return answer, None
        with contextlib.suppress(errors.LoadChangedError):  # it was started again just now
            return answer, Catalogue(connection.list_hooks(answer.server.load_id).hooks)
    raise rpc.restless(connection.address)


def _unpickled(cls: type[RemoteModel], state: dict[str, Any]) -> RemoteModel:
    model = cls._described(state)
    model._keep(state["hooks"])
    return model


@arguments.checked_methods("model")
class RemoteModel(Session):
    """A model that a server holds. Made by `connect`.

    The methods have TransformerLens's names, order of arguments and defaults. Tensors come back as
    [batch, pos, …]; positions that are padding come back as zeros.

    Safe to use from several threads. In a process that was forked it connects again by itself; a
    pickled one is its address, its options, its hooks and what the server said of itself, and
    connects when it is first used. Either goes on with the load that it had: where the server has
    been started again with another model or other settings, what needs the server raises
    LoadChangedError, until `reconnect`.
    """

    def __init__(
        self,
        connection: Connection,
        answer: service_pb2.GetModelResponse,
        wishes: Wishes,
    ) -> None:
        super().__init__(connection.address, answer, wishes)
        self._connection = connection
        connection.peer.remember(answer)
        if wishes.shared_memory:
            connection.shared_memory.offer(answer.server)

    @classmethod
    def _described(cls, state: dict[str, Any]) -> Self:
        """The model of a `_description`. It connects when it is first used."""
        answer = service_pb2.GetModelResponse.FromString(state["answer"])
        return cls(Connection(state["address"]), answer, state["wishes"])

    def reconnect(self, timeout: float = 5.0) -> bool:
        """Takes what the server holds now: for after a LoadChangedError, or after `close`.

        Configuration, hook points, tokenizer and weights are then those of the load that the server
        has now, and runs that begin later run on it. The address, the options of `connect` and the
        hooks that `add_hook` has added stay, and so do the tokenizer's `default_prepend_bos` and
        sides, and the caches that earlier runs have made.

        Args:
            timeout: seconds to wait for the server's first answer.

        Returns:
            Whether the server holds another load than before.

        Raises:
            HookNotFoundError: hooks that were added have no place in the model that the server
                holds now; the message names them. Nothing has changed then.
            UnsupportedError: the model belongs to a bridge of TransformerLens's (`boot`), which
                cannot follow.
            UnavailableError, DeadlineError: as in `connect`.
        """
        self._check_may_reconnect()
        self._connection.reopen()
        answer, every = _meet(self._connection, timeout, bool(self._hooks_in_force()))
        if every is not None:
            self._check_hooks(every)
        with self._lock, self._weights_lock:
            changed = self._renew(answer)
            self._catalogue = every
        if self._wishes.shared_memory:
            self._connection.shared_memory.offer(answer.server)
        self._say_hello()
        return changed

    def _again(self) -> tuple[Callable[[dict[str, Any]], RemoteModel], dict[str, Any]]:
        return RemoteModel._described, self._description()

    def __reduce__(self) -> Any:
        return _unpickled, (type(self), self._pickled())

    def close(self) -> None:
        """Ends the connection.

        Runs that are under way end with a CancelledError, later calls with a ClosedError.
        """
        self._connection.close()

    def __enter__(self) -> Self:
        """The model, which is closed at the end of the block.

        Raises:
            ClosedError: it is closed already.
        """
        self._connection.peer.check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _blocking_connection(self) -> Connection:
        return self._connection

    def server_load(self) -> config.ServerLoad:
        """What the server does and holds now: how long the queue is, what waits to be read."""
        return config.server_load(self._connection.get_model().load)

    def catalogue(self) -> Catalogue:
        """The hook points, asked for once."""
        if self._catalogue is None:
            with self._lock:
                if self._catalogue is None:
                    answer = self._connection.list_hooks(self._load_id)
                    self._catalogue = Catalogue(answer.hooks)
        return self._catalogue

    def _get_tokenizer(self) -> Tokenizer:
        if self._tokenizer is not None:
            return self._tokenizer
        with self._lock:
            return self._ask_for_tokenizer()

    def _ask_for_tokenizer(self) -> Tokenizer:
        if self._tokenizer is not None:
            return self._tokenizer
        if self._no_tokenizer is not None:
            raise self._no_tokenizer
        try:
            return self._keep_tokenizer(self._connection.get_tokenizer(self._load_id))
        except errors.NoTokenizerError as error:
            self._no_tokenizer = error
            raise

    @property
    def tokenizer(self) -> Tokenizer:
        """The checkpoint's tokenizer, asked for once.

        Raises:
            NoTokenizerError: the checkpoint has none.
        """
        return self._get_tokenizer()

    def to_tokens(
        self,
        input: str | Sequence[str],  # noqa: A002 - TransformerLens's name
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
        move_to_device: bool = True,
        truncate: bool | None = None,
    ) -> Any:
        """Text to token ids [batch, pos]. See `Tokenizer.to_tokens`."""
        return self.tokenizer.to_tokens(input, prepend_bos, padding_side, move_to_device, truncate)

    def to_string(self, tokens: Any) -> str | list[str]:
        """Token ids to text. See `Tokenizer.to_string`."""
        return self.tokenizer.to_string(tokens)

    def to_str_tokens(
        self,
        input: Any,  # noqa: A002 - TransformerLens's name
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
    ) -> Any:
        """Text or token ids to the text of each token. See `Tokenizer.to_str_tokens`."""
        return self.tokenizer.to_str_tokens(input, prepend_bos, padding_side)

    def to_single_token(self, string: str) -> int:
        """The id of a string that is one token. See `Tokenizer.to_single_token`."""
        return self.tokenizer.to_single_token(string)

    def to_single_str_token(self, int_token: int) -> str:
        """The text of one id."""
        return self.tokenizer.to_single_str_token(int_token)

    def get_token_position(
        self,
        single_token: str | int,
        input: Any,  # noqa: A002 - TransformerLens's name
        mode: str = "first",
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
    ) -> int:
        """Where a token stands. See `Tokenizer.get_token_position`."""
        return self.tokenizer.get_token_position(
            single_token, input, mode, prepend_bos, padding_side
        )

    def __call__(
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
        """Runs the model.

        Args:
            input: a text, a list of texts, token ids as a flat list, as lists of possibly different
                lengths, or as a NumPy or torch array [pos] or [batch, pos].
            return_type: "logits" [batch, pos, d_vocab]; "loss", the cross entropy of the next
                tokens, computed on the server in float32; "both", a pair; or None. With
                stop_at_layer, "logits" and None return the residual stream instead.
            loss_per_token: loss [batch, pos - 1] instead of its mean over real tokens. Rows of a
                single token have none: see NothingToPredictError.
            prepend_bos: for text: whether a beginning-of-sequence token comes first. Default: yes.
            padding_side: for lists: "left" or "right". Default: the tokenizer's.
            attention_mask: [batch, pos] of 0 and 1, for token ids with padding.
            labels: not supported; see `log_probs`.
            start_at_layer: start at this layer: the input is then the residual stream that enters
                it, [batch, pos, d_model]; negative counts from the last. Names before it are
                errors, and are left out of globs, functions and None.
            stop_at_layer: end the pass before this layer, and return the residual stream that
                enters it, [batch, pos, d_model]; negative counts from the last. `n_layers` returns
                what enters the final norm.
            logits_pos: return logits of these positions only: an int, a list or a slice. Counted in
                each row's own tokens, so that -1 is every row's last token, wherever its padding
                is. The axis stays.
            tokens: with start_at_layer: the tokens of the residual stream, in any form of an input.
                Needed where later layers use more than the stream: per-layer embeddings, keys and
                values of layers before the start (those of the tokens' own pass), and the loss.
            **options: see `CallOptions`.

        Returns:
            What `return_type` says.

        Raises:
            HookwireError: see `hookwire.errors`.
        """
        refuse(labels=labels)
        chosen = Options.of(
            self.__call__,
            options,
            prepend_bos=prepend_bos,
            padding_side=padding_side,
            attention_mask=attention_mask,
        )
        run = self._run(
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
        return self._execute(run).output()

    forward = __call__

    def run_with_hooks(
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
        """Runs the model with changes.

        Args:
            input: as in `__call__`.
            fwd_hooks: pairs of where and what: a name, an alias, a glob, a short name with its
                layer, such as ("resid_post", 3), a list of these, or a function of a name; and a
                function `(tensor, hook)`, which runs here (see `hookwire.Hook`), or an op of
                `hookwire.ops`, which runs on the server. They apply in this order where several
                meet at one hook point.
            bwd_hooks: not supported.
            reset_hooks_end: False lets the hooks stay after the run, as if by `add_hook`.
            clear_contexts: empty `hook.ctx` of these hooks' places after the run.
            return_type: as in `__call__`.
            stop_at_layer: as in `__call__`.
            start_at_layer: as in `__call__`.
            remove_batch_dim: functions get the tensor of a single row, without the batch.
            loss_per_token: as in `__call__`.
            logits_pos: as in `__call__`.
            tokens: as in `__call__`.
            **options: see `RunOptions`.

        Returns:
            What `return_type` says, as in `__call__`.

        Raises:
            Exception: what a function raises ends the run, and comes out as it is.
            HookwireError: see `hookwire.errors`.
        """
        refuse(bwd_hooks=bwd_hooks)
        chosen = Options.of(self.run_with_hooks, options)
        run = self._run(
            input,
            chosen,
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
            return self._execute(run).output()
        finally:
            self._after_hooks(fwd_hooks, reset_hooks_end, clear_contexts)

    def run_with_cache(
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
        """Runs the model and returns what its hook points saw.

        Args:
            input: as in `__call__`.
            return_cache_object: return an `ActivationCache`; False: a plain dict.
            remove_batch_dim: take the batch off the captured tensors (of a single row).
            names_filter: which hook points: None for all; a name, an alias or a glob (`*` stays
                between dots, `**` crosses them); a short name, as a cache takes it: ("q", 3), or
                "q" for every layer that has it; a list of these; or a function of a name, applied
                to every name and alias. An alias asked for by name is returned under the canonical
                name too; a glob or a function returns just the names that it matched.
            stop_at_layer: as in `__call__`. Globs, functions and None leave out what lies behind
                it; a name that does is an error.
            start_at_layer: as in `__call__`.
            pos_slice: keep these positions of every hook point (of scores and pattern: query
                positions): an int, which keeps the axis, a list, a slice, or a tuple that is read
                as one. They are positions of the padded rows.
            incl_bwd: not supported.
            reset_hooks_end: as in `run_with_hooks`.
            clear_contexts: as in `run_with_hooks`.
            fwd_hooks: changes, as in `run_with_hooks`; tensors are captured after them.
            return_type: as in `__call__`.
            loss_per_token: as in `__call__`.
            logits_pos: as in `__call__`.
            tokens: as in `__call__`.
            device: where the cache's tensors go (torch). Default: the CPU.
            **options: see `RunOptions`.

        Returns:
            What `return_type` says, and the cache. `cache.mask` tells which positions are real.

        Raises:
            HookwireError: see `hookwire.errors`.

        Warns:
            ResultSizeWarning: the result has over 64 MiB, before it starts.
            NonFiniteWarning: NaN or infinity in what is returned.
            SkippedWarning: names that `missing="skip"` has left out.
            PaddingWarning: token ids that look padded, without a mask.
        """
        refuse(incl_bwd=incl_bwd)
        if device is not None:
            dtypes.check_device(device, self._use_torch)
        chosen = Options.of(self.run_with_cache, options)
        run = self._run(
            input,
            chosen,
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
            self._execute(run)
        finally:
            self._after_hooks(fwd_hooks, reset_hooks_end, clear_contexts, run)
        cache = run.cache(remove_batch_dim, device)
        return run.output(), cache if return_cache_object else cache.cache_dict

    def plan(
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
        """What `run_with_cache` with the same arguments would send, without running it.

        It takes all arguments of `run_with_cache`, by keyword but for the first two; those that say
        what becomes of the result (return_cache_object, reset_hooks_end, clear_contexts, device)
        change nothing.

        Returns:
            Names, shapes, dtypes and exact bytes. Printing it shows a table.
        """
        del return_cache_object, reset_hooks_end, clear_contexts, device
        refuse(incl_bwd=incl_bwd)
        chosen = Options.of(self.plan, options)
        run = self._run(
            input,
            chosen,
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
            return self._plan(run, self._connection.plan(message, chosen.timeout))

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
    ) -> ResultStream:
        """Runs the model and yields each tensor as soon as it is complete.

            for name, tensor in model.stream(prompt, "blocks.*.hook_resid_post"):
                ...

        A tensor is complete when all rows have come. A run of more tokens than the server takes
        in one pass (`--max-batch-tokens`: by default 1024 on cpu, else 8192) goes in several, a
        group of rows each, and its tensors are complete in the last: ask for fewer rows at a time.

        Args: as in `run_with_cache`, but for `return_type`, whose outputs come as "logits",
        "log_probs" (for a loss) and "residual" (with `stop_at_layer`). None: no outputs.

        Returns:
            An iterator that can be closed, which cancels the run.
        """
        chosen = Options.of(self.stream, options)
        run = self._run(
            input,
            chosen,
            fwd_hooks,
            names_filter=names_filter,
            pos_slice=pos_slice,
            stop_at_layer=stop_at_layer,
            return_type=return_type,
            logits_pos=logits_pos,
        )
        return ResultStream(self._connection, run)

    def log_probs(
        self,
        input: Any,  # noqa: A002 - TransformerLens's name
        targets: Any = None,
        pos: Any = -1,
        *,
        fwd_hooks: Hooks = (),
        **options: Unpack[RunOptions],
    ) -> Any:
        """Natural-log probabilities of target tokens, computed on the server in float32.

        Args:
            input: as in `__call__`.
            targets: tokens (ids, or strings that are one token): one, a list of them for every row,
                or a list of as long lists, one a row. None: the next token of each position.
            pos: the position at which they are predicted, or one for each target; counted in each
                row's own tokens, so that -1 is every row's last.
            fwd_hooks: changes, as in `run_with_hooks`.
            **options: see `RunOptions`.

        Returns:
            [batch, targets], or without targets [batch, pos - 1], with zeros at padding.
        """
        chosen = Options.of(self.log_probs, options)
        run = self._run(
            input,
            chosen,
            fwd_hooks,
            return_type=None,
            targets=targets,
            pos=pos,
            wants_log_probs=True,
        )
        return self._execute(run).log_probs()

    def _execute(self, run: Run) -> Run:
        for _ in _results(self._connection, run):
            pass
        return run
