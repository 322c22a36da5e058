"""What a connected model holds: what the server has said, and what has been fetched from it."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from hookwire import errors, forks
from hookwire._proto import model_pb2, service_pb2
from hookwire.answer.kept import Kept
from hookwire.api.attributes import Attributes
from hookwire.api.standing import StandingHooks
from hookwire.api.wishes import Wishes
from hookwire.errors import arguments
from hookwire.facts import config, display, dtypes
from hookwire.facts.catalogue import Catalogue
from hookwire.facts.dtypes import Array
from hookwire.text.tokenizer import PORTABLE_SETTINGS, Tokenizer
from hookwire.weights import NamedWeights, Weights, is_digest
from hookwire.wire.asynchronous import AsyncConnection
from hookwire.wire.blocking import Connection

T = TypeVar("T")

# To wait for a server that is to say why there is no such hook point.
_WHY_SECONDS = 5.0

# Address and load of each server whose banner this process has shown.
_shown: set[tuple[str, str]] = set()


@arguments.checked_methods("model")
class Session(Attributes, StandingHooks, NamedWeights):
    """The state of a connected model, and the making of requests.

    Attributes:
        cfg: the model's configuration.
        server: the server that holds it.
        last_receipt: the receipt of the run that ended last, on any thread; None before the first.
    """

    def __init__(
        self,
        connection: Connection | AsyncConnection,
        answer: service_pb2.GetModelResponse,
        wishes: Wishes,
    ) -> None:
        super().__init__()
        self._connection = connection
        self._wishes = wishes
        self._use_torch = dtypes.wants_torch(wishes.tensors)
        self.last_receipt: config.Receipt | None = None
        self._kept = Kept()
        self._lock = threading.Lock()
        self._weights_lock = threading.Lock()
        forks.register(self)
        self._hold(answer)
        self._note(answer)

    def _after_fork(self) -> None:
        self._kept = Kept()
        self._lock = threading.Lock()
        self._weights_lock = threading.Lock()
        self._standing_lock = threading.Lock()

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
        object.__setattr__(
            self, "server", config.server_info(answer.server, self._connection.address)
        )
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

    def _take(self, answer: service_pb2.GetModelResponse, every: Catalogue | None) -> bool:
        """Goes on with what the server holds now, and returns whether that is another load.

        `every` are its hook points; None: they are asked for when they are needed.
        """
        if every is not None:
            self._check_hooks(every)
        with self._lock, self._weights_lock:
            changed = self._renew(answer)
            self._catalogue = every
        self._note(answer)
        self._say_hello()
        return changed

    def _note(self, answer: service_pb2.GetModelResponse) -> None:
        """Tells the connection what the server holds and shares."""
        self._connection.peer.remember(answer)
        if self._wishes.shared_memory:
            self._connection.shared_memory.offer(answer.server)

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
                "the server has loaded a model that does not have the hook points of some added "
                f"hooks: {'; '.join(dict.fromkeys(lost))}. Remove the hooks with "
                "reset_hooks(including_permanent=True), and call reconnect() again; until then "
                "this model is unchanged"
            )

    def _description(self) -> dict[str, Any]:
        """What makes another model like this one, but for its hooks, in another process."""
        return {
            "address": self._connection.address,
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
                "defined at the top of a module. Remove them with reset_hooks() first, or pass "
                "hooks to run_with_hooks in the worker"
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

    def _blocking_connection(self) -> Connection:
        """What is fetched over where nothing can be awaited."""
        return self._connection.blocking()

    def catalogue(self) -> Catalogue:
        """Returns the hook points, by name and alias, in the order of the pass.

        They are fetched from the server once, by a call that blocks. An asynchronous model has
        fetched them when it connected; one that was pickled does so in its first run.

        Raises:
            UnavailableError: no server answers.
            LoadChangedError: the server was restarted with another load.
        """
        if self._catalogue is None:
            with self._lock:
                if self._catalogue is None:
                    answer = self._blocking_connection().list_hooks(self._load_id)
                    self._catalogue = Catalogue(answer.hooks)
        return self._catalogue

    def _get_tokenizer(self) -> Tokenizer:
        """The tokenizer, asked for once. Asking for it blocks, as it does for weights.

        Raises:
            NoTokenizerError: the checkpoint has none.
        """
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
            files = self._blocking_connection().get_tokenizer(self._load_id)
        except errors.NoTokenizerError as error:
            self._no_tokenizer = error
            raise
        return self._keep_tokenizer(files)

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

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        cfg, server = self.cfg, self.server
        rows = [
            ("variant", cfg.variant),
            ("layers", cfg.n_layers),
            ("d_model", cfg.d_model),
            ("heads", f"{cfg.n_heads}, of keys and values {cfg.n_key_value_heads}"),
            ("vocabulary", f"{cfg.d_vocab:,}"),
            ("context", f"{cfg.n_ctx:,} tokens"),
            ("parameters", f"{cfg.n_params:,}"),
            ("server", f"{server.address}, {server.build}"),
            ("computes", f"in {server.dtype} on {server.device}, numerics={server.numerics}"),
            ("active hooks", len(self.active_hooks())),
        ]
        return display.table(f"{type(self).__name__} {cfg.model_name}", (), rows)

    def tensor(self, array: Array) -> Any:
        """Returns an array as results have it: a torch tensor with its memory, or the array itself.

        Args:
            array: a NumPy array of any shape.
        """
        return dtypes.to_torch(array) if self._use_torch else array
