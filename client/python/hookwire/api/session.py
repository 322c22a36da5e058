"""What the blocking and the asynchronous model have in common: everything but the waiting."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, TypeVar

from hookwire import errors, forks
from hookwire._proto import model_pb2, service_pb2
from hookwire.answer import assembly as results
from hookwire.answer import output
from hookwire.answer import plan as plans
from hookwire.answer.entries import Entry
from hookwire.answer.progress import Progress
from hookwire.answer.visits import Visit
from hookwire.api.standing import NO_GRADIENTS, HooksInForce, StandingHooks
from hookwire.ask import hooks, inputs, interventions, outputs, reach, request, starting
from hookwire.ask.asked import Ask
from hookwire.cache import ActivationCache
from hookwire.errors import arguments
from hookwire.facts import characters, config, dtypes, not_here
from hookwire.facts.catalogue import Catalogue, HookDict
from hookwire.facts.dtypes import Array
from hookwire.text.tokenizer import PORTABLE_SETTINGS, Tokenizer
from hookwire.weights import DiskCache, NamedWeights, Weights, is_digest
from hookwire.wire.blocking import Connection
from hookwire.wire.peer import seconds

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")


class CallOptions(TypedDict, total=False):
    """What every kind of run takes, by keyword.

    Attributes:
        missing: "error" (the default), or "skip" to leave out, with a warning, names that other
            layers or models have and this one does not. A name that no Gemma 4 has, and a layer
            behind the last, stay errors.
        allow_non_finite: accept NaN and infinity in values of ops. Default: no.
        max_result_bytes: refuse the run if its result would be larger. Default: the server's limit.
        priority: "low", "normal" (the default) or "high": which of this client's runs go first, and
            how large its share is while others' runs wait too.
        dtype: of captured tensors, such as "float32". Default: each hook point's own.
        moment: capture "after" (the default) or "before" the ops at the same hook point.
        progress: show a progress bar. Default: for large results, on a terminal or in a notebook.
        timeout: seconds for the whole run. Default: none.
    """

    missing: str
    allow_non_finite: bool
    max_result_bytes: int | None
    priority: str
    dtype: Any
    moment: str
    progress: bool | None
    timeout: float | None


class RunOptions(CallOptions, total=False):
    """`CallOptions`, and how the input is read, where that is no argument of its own.

    Attributes:
        prepend_bos: for text: whether a beginning-of-sequence token comes first. Default: yes.
        padding_side: for lists: "left" or "right". Default: the tokenizer's.
        attention_mask: [batch, pos] of 0 and 1, for token ids with padding.
    """

    prepend_bos: bool | None
    padding_side: str | None
    attention_mask: Any


# Arguments of TransformerLens's forward pass that are none here, and why not.
_NOT_SERVED = {
    "past_key_values": "each run computes its whole sequences",
    "past_kv_cache": "each run computes its whole sequences",
    "past_left_attention_mask": "each run computes its whole sequences",
    "shortformer_pos_embed": "Gemma 4's positions are rotary",
    "pixel_values": "the server runs the text path",
    "input_values": "the server runs the text path",
}


@dataclass(frozen=True)
class Options:
    """`RunOptions` with their defaults."""

    prepend_bos: bool | None = None
    padding_side: str | None = None
    attention_mask: Any = None
    missing: str = "error"
    allow_non_finite: bool = False
    max_result_bytes: int | None = None
    priority: str = "normal"
    dtype: Any = None
    moment: str = "after"
    progress: bool | None = None
    timeout: float | None = None

    @classmethod
    def of(cls, method: Callable[..., Any], given: Mapping[str, Any], **more: Any) -> Options:
        """The options that a method was called with.

        Args:
            method: that was called; the message names it, and what its keywords are like.
            given: the keywords that are none of its own arguments.
            **more: those of its own arguments that are options.

        Raises:
            ArgumentTypeError: a keyword that there is not, or a timeout that is no number.
        """
        known = [one.name for one in fields(cls)]
        given = dict(given)
        refuse(**{name: given.pop(name) for name in _NOT_SERVED if name in given})
        for keyword in given:
            if keyword not in known:
                name = "model" if method.__name__ == "__call__" else f"model.{method.__name__}"
                raise arguments.unexpected(name, keyword, [*arguments.keywords(method), *known])
        made = cls(**given, **more)
        seconds(made.timeout)
        for name in ("prepend_bos", "progress"):
            arguments.check_flag(name, getattr(made, name))
        return made


@dataclass(frozen=True)
class Activation:
    """One tensor of a stream. Unpacks to `name, tensor`.

    Attributes:
        name: the name it was asked for by (the canonical one, where that was among them), or
            "logits", "log_probs", "residual".
        tensor: [batch, pos, …].
        names: all names that it was asked for by.
    """

    name: str
    tensor: Any
    names: tuple[str, ...]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.name, self.tensor))


class Run:
    """One run, between its request and its result: takes events, knows nothing of waiting."""

    def __init__(self, session: Session, made: request.Request, options: Options) -> None:
        self._session = session
        self._progress = Progress(options.progress)
        self._accepted: service_pb2.Accepted | None = None
        # At least so many layers, by what the server has said and by what has come.
        self._layers_done = 0
        self._last_visit = ""
        self.request = made
        self.timeout = options.timeout
        self.functions_see_no_batch = False
        self.assembly = results.Assembly(made.places, made.names)

    def feed(self, event: Any) -> list[Entry]:
        """Takes one event; returns what has become whole by it."""
        done = self.assembly.feed(event)
        if isinstance(event, list):
            self._progress.update(self.assembly.received)
        elif isinstance(event, service_pb2.Progress):
            self._layers_done = max(self._layers_done, event.layers_done)
        elif isinstance(event, service_pb2.Accepted):
            self._accepted = event
            plans.warn_of_size(self.assembly, plans.WARN_BYTES)
            plans.warn_of_skipped(event.plan)
            self._progress.begin(event.plan.total_bytes)
            if event.shared_memory:
                self.assembly.prepare()
        # What is of a layer has come when those before it were computed.
        self._layers_done = max([self._layers_done, *(_layer_of(entry.name) for entry in done)])
        return done

    def stage(self) -> str:
        """How far it has come, for an error; empty where the server has not accepted it."""
        if self._accepted is None:
            return ""
        plan, done = self._accepted.plan, self._layers_done
        received = self.assembly.received
        if done >= plan.n_layers_run and received:
            said = f"all {plan.n_layers_run} layers had been computed"
        elif done or received:
            said = f"{done} of {plan.n_layers_run} layers had been computed"
        else:
            ahead = self._accepted.queue_position
            were = "1 run was" if ahead == 1 else f"{ahead or 'no'} runs were"
            said = f"no layer had been computed; {were} ahead of it when the server accepted it"
        if plan.total_bytes:
            said += f", {received:,} of {plan.total_bytes:,} bytes of its result had come"
        if self._last_visit:
            said += f"; the last hook function that was called is the one at {self._last_visit}"
        return said

    def visit(self, entry: Entry) -> Visit:
        """The call of a function for which the tensor has come."""
        assert entry.callback is not None
        asked = self.request.message.spec.interventions[entry.callback].hook
        self._last_visit = asked
        point = self._session.catalogue().get(entry.name)
        return Visit(
            entry,
            self.assembly,
            self.request.functions[entry.callback],
            self._session._hook(entry.name),
            asked,
            self._session.tensor,
            read_only_reason=point.read_only_reason if point and not point.writable else None,
            has_batch=not self.functions_see_no_batch,
        )

    def finish(self) -> None:
        """Checks that the run is whole, and takes note of its receipt."""
        self.assembly.finish()
        assert self.assembly.receipt is not None
        receipt = self.assembly.receipt = replace(
            self.assembly.receipt, load_id=self.request.message.spec.load_id
        )
        self._session.last_receipt = receipt
        if receipt.non_finite:
            _warn_of_non_finite(receipt, self.request.captured_as)

    def close(self) -> None:
        """Ends the progress bar."""
        self._progress.close()

    def activation(self, entry: Entry) -> Activation:
        """What a stream yields for it."""
        array = entry.array
        assert array is not None
        name = entry.name if entry.name in entry.names else entry.names[0]
        return Activation(name, self._session.tensor(array), tuple(entry.names))

    def output(self) -> Any:
        """What the run returns besides its cache."""
        arrays = {e.name: e.array for e in self.assembly.entries if e.is_output}
        whole = {name: array for name, array in arrays.items() if array is not None}
        return output.output(self.request, whole, self._session.tensor)

    def log_probs(self) -> Any:
        """The log-probabilities."""
        return next(
            self._session.tensor(entry.array)
            for entry in self.assembly.entries
            if entry.name == "log_probs" and entry.array is not None
        )

    def _mask(self) -> Any:
        mask = self.request.batch.mask()
        if self.request.columns is not None:
            mask = mask[:, self.request.columns]
        return self._session.tensor(mask)

    def cache(self, remove_batch_dim: bool, device: Any = None) -> ActivationCache:
        """What was captured.

        Args:
            remove_batch_dim: as in `hookwire.RemoteModel.run_with_cache`, as is `device`.
            device: where its tensors go; None: where they are.
        """
        session, made = self._session, self.request
        tensors: dict[str, Any] = {}
        for entry in self.assembly.entries:
            if not entry.is_output and entry.callback is None and entry.array is not None:
                tensor = session.tensor(entry.array)
                for name in entry.names:
                    tensors[name] = tensor
        assert self.assembly.receipt is not None
        cache = ActivationCache(
            tensors,
            model=session,
            mask=self._mask,
            receipt=self.assembly.receipt,
            batch=len(made.batch),
        )
        if remove_batch_dim:
            cache = cache.remove_batch_dim()
        return cache if device is None else cache.to(device)


def _layer_of(name: str) -> int:
    """The layer of a hook point; 0 for one in no layer."""
    parts = name.split(".")
    return int(parts[1]) if parts[0] == "blocks" and parts[1].isdigit() else 0


def _warn_of_non_finite(receipt: config.Receipt, name_of: Callable[[str], str]) -> None:
    """Warns of NaN and infinity; `name_of` gives the user's name of a canonical one."""
    shown = [
        f"{name_of(entry.hook)} row {entry.row} ({entry.nan} NaN, {entry.inf} infinite)"
        for entry in receipt.non_finite[:5]
    ]
    more = len(receipt.non_finite) - len(shown)
    errors.warn(
        f"not all values are finite: {', '.join(shown)}{f' and {more} more' if more else ''}",
        errors.NonFiniteWarning,
    )


@dataclass(frozen=True)
class Wishes:
    """What `connect` was asked for, besides the address.

    Attributes:
        tensors: as in `hookwire.connect`.
        quiet: as there.
        disk: where weights are kept; None: nowhere.
        shared_memory: as there.
        tokenizer: what is set on the tokenizer once it is loaded (`Tokenizer.changes`).
    """

    tensors: dtypes.Tensors = "auto"
    quiet: bool = True
    disk: DiskCache | None = None
    shared_memory: bool = True
    tokenizer: Mapping[str, Any] = field(default_factory=dict)


# To wait for a server that is to say why there is no such hook point.
_WHY_SECONDS = 5.0

# Address and load of each server whose banner this process has shown.
_shown: set[tuple[str, str]] = set()


@arguments.checked_methods("model")
class Session(StandingHooks, NamedWeights):
    """The state of a connected model, and the making of requests.

    Attributes:
        cfg: the model's configuration.
        server: what holds it.
        last_receipt: of the run that ended last, on any thread; None before the first.
    """

    def __init__(self, address: str, answer: service_pb2.GetModelResponse, wishes: Wishes) -> None:
        super().__init__()
        self._wishes = wishes
        self._use_torch = dtypes.wants_torch(wishes.tensors)
        self._address = address
        self.last_receipt: config.Receipt | None = None
        self._lock = threading.Lock()
        self._weights_lock = threading.Lock()
        forks.register(self)
        self._hold(answer)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._weights_lock = threading.Lock()
        self._standing_lock = threading.Lock()

    cfg: config.Config
    server: config.ServerInfo

    # Why `reconnect` cannot be; empty where it can.
    _no_reconnect = ""

    def _check_may_reconnect(self) -> None:
        if self._no_reconnect:
            raise errors.UnsupportedError(self._no_reconnect)

    def _hold(self, answer: service_pb2.GetModelResponse) -> None:
        """Takes what the server says that it holds; what was known of an earlier load goes.

        Runs and requests that were begun before state the earlier load, and are refused.
        """
        self._answer = answer
        cfg = config.config(answer.model, answer.server, self._use_torch)
        # Users cannot set them: see `__setattr__`.
        object.__setattr__(self, "cfg", cfg)
        object.__setattr__(self, "server", config.server_info(answer.server, self._address))
        self._catalogue: Catalogue | None = None
        self._tokenizer: Tokenizer | None = None
        # That there is none, once the server has said so.
        self._no_tokenizer: errors.NoTokenizerError | None = None
        self._weights: Weights | None = None
        self._warned_of_padding = False
        # The last: whoever has read it first has read nothing of an earlier load after it.
        self._load_id = answer.server.load_id

    def _renew(self, answer: service_pb2.GetModelResponse) -> bool:
        """Takes what the server holds now, and returns whether that is another load.

        What the user has set on the tokenizer stays, where it means the same for the new one.
        """
        changed = self._differs(answer)
        set_before = self._changes_of_tokenizer()
        if changed:
            set_before = {name: set_before[name] for name in PORTABLE_SETTINGS & set_before.keys()}
        self._wishes = replace(self._wishes, tokenizer=set_before)
        self._hold(answer)
        return changed

    def _differs(self, answer: service_pb2.GetModelResponse) -> bool:
        """Whether the server holds something else now than this model was connected to."""
        if answer.server.load_id or self._load_id:
            return answer.server.load_id != self._load_id
        # A server that names no loads. Its digest is "pending" for a while after it has started.
        ours, theirs = model_pb2.Model(), model_pb2.Model()
        ours.CopyFrom(self._answer.model)
        theirs.CopyFrom(answer.model)
        if not (is_digest(ours.weights_digest) and is_digest(theirs.weights_digest)):
            ours.weights_digest = theirs.weights_digest = ""
        return bool(ours != theirs)

    def _changes_of_tokenizer(self) -> Mapping[str, Any]:
        return self._wishes.tokenizer if self._tokenizer is None else self._tokenizer.changes()

    def _check_hooks(self, every: Catalogue) -> None:
        """Checks that the hooks in force have a place in another load.

        Raises:
            HookNotFoundError: some have none.
        """
        lost = []
        for where, _ in self._hooks_in_force():
            try:
                self._check(where, every)
            except errors.HookwireError as error:
                lost.append(str(error))
        if lost:
            raise errors.HookNotFoundError(
                "the model that the server holds now has no place for hooks that were added to "
                f"this one: {'; '.join(dict.fromkeys(lost))}. Remove them with "
                "reset_hooks(including_permanent=True), and reconnect() again; until then the "
                "model stays connected to the load that it had"
            )

    def _description(self) -> dict[str, Any]:
        """What makes another model like this one, but for its hooks, in another process."""
        return {
            "address": self._address,
            "answer": self._answer.SerializeToString(),
            "wishes": replace(
                self._wishes,
                tensors="torch" if self._use_torch else "numpy",
                tokenizer=self._changes_of_tokenizer(),
            ),
        }

    def _pickled(self) -> dict[str, Any]:
        """What makes another model like this one, in another process."""
        added = self._hooks_in_force()
        try:
            pickle.dumps(added)
        except Exception as error:  # whatever the user's objects raise
            raise errors.HookwireError(
                f"this model has hooks that cannot be pickled ({error}): a function must be "
                "defined at the top of a module. Take them off with reset_hooks() first, or give "
                "the worker's runs their hooks with run_with_hooks"
            ) from None
        return {**self._description(), "hooks": added}

    def _ask_why(self, name: str) -> None:
        asked = service_pb2.PlanRequest()
        asked.spec.load_id = self._load_id
        asked.spec.sequences.add(token_ids=[0])
        try:
            asked.spec.captures.add(hook=name)
            self._blocking_connection().plan(asked, _WHY_SECONDS)
        except (errors.HookNotFoundError, errors.AbsentHookError, errors.GlobNoMatchError):
            raise
        except (errors.HookwireError, UnicodeEncodeError):
            return  # then it is said without the server

    # What the two models do differently: getting what is not here yet.
    def catalogue(self) -> Catalogue:
        """The hook points."""
        raise NotImplementedError

    def _get_tokenizer(self) -> Tokenizer:
        raise NotImplementedError

    def _blocking_connection(self) -> Connection:
        """What weights are fetched over."""
        raise NotImplementedError

    @property
    def weights(self) -> Weights:
        """The parameters by name, fetched when they are first needed. See `hookwire.weights`.

        Fetching blocks, on an asynchronous model too.
        """
        with self._weights_lock:
            if self._weights is None:
                connection, load_id = self._blocking_connection(), self._load_id
                self._weights = Weights(
                    lambda name, rows: connection.get_weight(name, rows, load_id),
                    lambda: connection.get_model(load_id=load_id).model.weights_digest,
                    self.cfg.weights_digest,
                    dtype=self.server.dtype,
                    tensor=self.tensor,
                    disk=self._wishes.disk,
                    load_id=load_id,
                )
            return self._weights

    def _single_token(self, text: str) -> int:
        return self._get_tokenizer().to_single_token(text)

    def _keep_tokenizer(self, files: dict[str, bytes]) -> Tokenizer:
        tokenizer = Tokenizer(
            files,
            n_ctx=self.cfg.n_ctx,
            use_torch=self._use_torch,
            name_or_path=self.cfg.model_name,
        )
        tokenizer.change(self._wishes.tokenizer)
        self._tokenizer = tokenizer
        return tokenizer

    def _say_hello(self) -> None:
        """Says what this is connected to, on stderr: once in a process for a server's load."""
        cfg, server = self.cfg, self.server
        load = (server.address, self._load_id)
        if self._wishes.quiet or load in _shown:
            return
        _shown.add(load)
        print(
            f"hookwire: {cfg.model_name} ({cfg.variant}, {cfg.n_layers} layers, "
            f"{cfg.n_params:,} parameters) on {server.address}: {server.dtype}, "
            f"numerics={server.numerics}, {server.device}, {server.build}",
            file=sys.stderr,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.cfg.model_name!r} at {self.server.address})"

    @property
    def hook_dict(self) -> dict[str, Any]:
        """Every name and alias, and the `HookPoint` it stands for, in the order of the pass.

        Another name raises a HookNotFoundError, which is a KeyError.
        """
        return HookDict(self.catalogue().by_name())

    def hook_names(self, aliases: bool = True) -> list[str]:
        """The names of all hook points, in the order of the pass, with or without aliases."""
        every = self.catalogue()
        return list(every) if aliases else [point.name for point in every.points]

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            if name in ("cfg", "server"):
                raise AttributeError
            super().__setattr__(name, value)
        except AttributeError:
            hint = ""
            if name == "tokenizer":
                hint = ". Its settings can be set: model.tokenizer.padding_side and the like"
            raise errors.ReadOnlyConfigError(
                f"model.{name} cannot be set: it belongs to what the server holds{hint}"
            ) from None

    @property
    def blocks(self) -> NoReturn:
        """The modules are on the server.

        Raises:
            NoModulesError: always; it says what to use instead.
        """
        raise errors.NoModulesError(
            "the modules of a remote model are on the server, so there is no model.blocks: read "
            "and change activations by name, and take weights from model.W_Q[layer], "
            'model.weights["blocks.3.attn.q.weight"] and so on'
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise errors.NoAttributeError(f"a remote model has no attribute {name!r}")
        if hasattr(type(self), name):
            # A property has raised an AttributeError: its own is the better one.
            object.__getattribute__(self, name)
        groups = (*not_here.MODEL, *not_here.EARLIER)
        not_here.missing("a remote model", name, groups, dir(type(self)))

    def eval(self) -> Self:
        """The model: it is always in evaluation mode, as it is nowhere trained."""
        return self

    @property
    def training(self) -> bool:
        """False: nothing is trained here."""
        return False

    @property
    def device(self) -> Any:
        """Where the tensors of results are; `model.server.device` is where the server computes."""
        if not self._use_torch:
            return self.cfg.device
        import torch

        return torch.device(self.cfg.device)

    @property
    def dtype(self) -> Any:
        """What the server computes in, as `cfg.dtype`."""
        return self.cfg.dtype

    def hook_points(self) -> list[Any]:
        """All `HookPoint`s, in the order of the pass."""
        return list(self.catalogue().points)

    @contextmanager
    def hooks(
        self,
        fwd_hooks: Sequence[tuple[Any, Any]] = (),
        bwd_hooks: Sequence[Any] = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
    ) -> Iterator[Self]:
        """Applies hooks to the model's runs until a `with` block ends, before those of the run.

        They belong to the model, as those of `add_hook` do: runs that other threads, pools and
        asynchronous tasks make meanwhile have them too, and two blocks at a time see each other's.
        For hooks of one run alone pass `fwd_hooks` to `run_with_hooks` or `run_with_cache`.

        Args:
            fwd_hooks: as in `run_with_hooks`.
            bwd_hooks: not supported.
            reset_hooks_end: False lets the hooks stay after the block, as if by `add_hook`.
            clear_contexts: empty `hook.ctx` of these hooks' places at the end of the block.

        Raises:
            HookNotFoundError, AbsentHookError, GlobNoMatchError: no such hook point; the block is
                not entered.
        """
        refuse(bwd_hooks=bwd_hooks)
        added = hooks.pairs(fwd_hooks)
        for number, (where, _) in enumerate(added):
            self._check_now(where, f"the place of fwd_hooks[{number}]")
        try:
            with self._block(added, stay=not reset_hooks_end):
                yield self
        finally:
            if clear_contexts:
                self._clear_contexts_after(added)

    def _after_hooks(
        self,
        fwd_hooks: Sequence[tuple[Any, Any]],
        reset_hooks_end: bool,
        clear_contexts: bool,
        run: Run | None = None,
    ) -> None:
        """What becomes of hooks, and of what functions kept, after a run."""
        if not reset_hooks_end:
            self._keep(hooks.pairs(fwd_hooks))
        if clear_contexts:
            self._clear_contexts_after(fwd_hooks)
            if run is not None:
                captured = (entry for entry in run.assembly.entries if entry.callback is None)
                self._clear_contexts_of(entry.name for entry in captured)

    def _clear_contexts_after(self, fwd_hooks: Sequence[tuple[Any, Any]]) -> None:
        """Empties the `hook.ctx` of the places of these hooks."""
        anywhere = reach.Reach(self.catalogue)
        points = self.catalogue().by_name()
        for where, _ in fwd_hooks:
            names = interventions.names_of(where, anywhere, expand=True)
            self._clear_contexts_of(points[name].name for name in names if name in points)

    def tensor(self, array: Array) -> Any:
        """What users see of an array: a torch tensor over its memory, or itself."""
        return dtypes.to_torch(array) if self._use_torch else array

    def _batch(self, value: Any, options: Options, what: str = "the input") -> inputs.Batch:
        pad = self.cfg.pad_token_id
        if self._warned_of_padding or pad in (self.cfg.bos_token_id, *self.cfg.eos_token_ids):
            pad = None
        made = inputs.batch(
            value,
            attention_mask=options.attention_mask,
            prepend_bos=options.prepend_bos,
            padding_side=options.padding_side,
            encoder=self._get_tokenizer,
            pad_token_id=pad,
            what=what,
        )
        self._warned_of_padding |= made.looks_padded
        return made

    def _run(
        self,
        value: Any,
        options: Options,
        fwd_hooks: Sequence[tuple[Any, Any]],
        *,
        targets: Any = None,
        pos: Any = None,
        start_at_layer: int | None = None,
        tokens: Any = None,
        standing: HooksInForce | None = None,
        **wanted: Any,
    ) -> Run:
        """The run that is asked for, ready to be sent.

        `standing` are the hooks that were in force when it was asked for; None: those of now.
        """
        if standing is None:
            standing = self._hooks_in_force()
        # Before anything else of the load is read: see `_hold`.
        load_id = self._load_id
        first: tuple[tuple[Any, Any], ...] = ()
        start_at_layer = reach.start(start_at_layer, self.cfg.n_layers)
        if start_at_layer is None:
            if tokens is not None:
                raise errors.ArgumentError(
                    "tokens= goes with start_at_layer; without it, they are the input"
                )
            batch = self._batch(value, options)
        else:
            stream = starting.residual(value, self.cfg.d_model)
            batch = self._tokens_of(stream, tokens, start_at_layer, options, wanted)
            first = (starting.hook(stream, start_at_layer, batch),)
        if targets is not None:
            wanted["targets"] = outputs.targets(
                targets, pos, batch, lambda text: self._get_tokenizer().to_single_token(text)
            )
        ask = Ask(
            hooks=(*first, *standing, *hooks.pairs(fwd_hooks)),
            n_standing=len(first) + len(standing),
            start_at_layer=start_at_layer,
            missing=options.missing,
            allow_non_finite=options.allow_non_finite,
            max_result_bytes=options.max_result_bytes,
            priority=options.priority,
            dtype=options.dtype,
            moment=options.moment,
            **wanted,
        )
        try:
            made = request.build(
                ask,
                batch,
                n_layers=self.cfg.n_layers,
                max_request_bytes=self.server.max_request_bytes,
                catalogue=self.catalogue,
                load_id=load_id,
            )
        except UnicodeEncodeError as error:
            # A name that no message of the wire can hold.
            characters.check(error.object, f"{error.object!r}")
            raise
        return Run(self, made, options)

    def _tokens_of(
        self, stream: Array, tokens: Any, start: int, options: Options, wanted: dict[str, Any]
    ) -> inputs.Batch:
        """The tokens of a run that starts with a residual stream."""
        if tokens is not None:
            return self._batch(tokens, options, "tokens")
        reason = starting.why_tokens(start, self.cfg)
        if wanted.get("return_type") in ("loss", "both"):
            reason = "the loss is that of the next tokens"
        if reason:
            raise errors.TokensNeededError(
                f"a run that starts at layer {start} needs tokens here: {reason}. Pass those of "
                "the residual stream as tokens=…"
            )
        return inputs.batch(
            starting.stand_ins(stream),
            attention_mask=options.attention_mask,
            encoder=self._get_tokenizer,
        )

    @staticmethod
    def _check_batch_dim(run: Run, remove_batch_dim: bool) -> None:
        """Says before the run, rather than after it, that there is more than one row."""
        rows = len(run.request.batch)
        if remove_batch_dim and rows != 1:
            raise errors.ArgumentError(
                f"remove_batch_dim=True needs a single row; the input has {rows}"
            )

    def _plan(self, run: Run, answer: service_pb2.PlanResponse) -> plans.Plan:
        run.assembly.begin(answer.plan)
        run.assembly.check()
        return plans.summarize(run.assembly)


def no_copy_of_a_stream() -> errors.HookwireError:
    """The error for pickling or copying a stream."""
    return errors.ArgumentTypeError(
        "a stream is a run on the server's way to this process, and cannot be pickled or "
        "copied: pickle the tensors that it gives"
    )


def returned(return_type: str | None, stop_at_layer: int | None) -> str | None:
    """`return_type` for a method that returns the residual stream where the pass ends early.

    With `stop_at_layer`, None returns it too, as in TransformerLens.
    """
    return return_type if stop_at_layer is None else return_type or "logits"


def refuse(**arguments: Any) -> None:
    """Refuses arguments of TransformerLens that a remote model cannot serve.

    Raises:
        UnsupportedError: one of them is set.
    """
    reasons = {
        "bwd_hooks": NO_GRADIENTS,
        "incl_bwd": NO_GRADIENTS,
        "labels": "loss is that of the next tokens; use log_probs(targets=…) for others",
        **_NOT_SERVED,
    }
    for name, value in arguments.items():
        if value is not None and value is not False and value != () and value != []:
            raise errors.UnsupportedError(f"{name} is not supported: {reasons[name]}")
