"""The parameters by name, as the server has them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from hookwire import errors, forks
from hookwire.errors import arguments
from hookwire.facts import config, dtypes, selection
from hookwire.facts.dtypes import Array
from hookwire.weights.disk import DiskCache, is_digest

Fetch = Callable[[str, "Sequence[int] | None"], tuple[Array, str]]
"""Gets a parameter, or some of its rows, and the digest of the weights that it belongs to."""


@arguments.checked_methods("model.weights")
class Weights:
    """The parameters by name. See `hookwire.weights`. Safe to use from several threads.

    Nobody can change a parameter for others, such as the methods of caches: NumPy arrays, and all
    their views, are read-only, and each call gives a torch tensor of its own.

    Args:
        fetch: gets a parameter, or some of its rows, from the server.
        ask_digest: asks the server for the digest of its weights, which may be "pending".
        digest: what it said at first.
        dtype: that the server computes in.
        tensor: makes what users see of an array.
        disk: where parameters are kept, if anywhere.
        load_id: of the load whose parameters these are; empty: the server names none.
    """

    def __init__(
        self,
        fetch: Fetch,
        ask_digest: Callable[[], str],
        digest: str,
        *,
        dtype: str,
        tensor: Callable[[Array], Any],
        disk: DiskCache | None,
        load_id: str = "",
    ) -> None:
        self.load_id = load_id
        self._fetch = fetch
        self._ask_digest = ask_digest
        self._digest = digest
        self._dtype = dtype
        self._tensor = tensor
        self._disk = disk
        self._lock = threading.RLock()
        forks.register(self)
        self._arrays: dict[str, Array] = {}
        self._tensors: dict[str, Any] = {}
        self._rows: dict[str, dict[int, Array]] = {}
        self._absent: dict[str, errors.AbsentWeightError] = {}

    def _after_fork(self) -> None:
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"Weights({self._digest}, {len(self._arrays)} fetched)"

    @property
    def digest(self) -> str:
        """Of the server's weights, "sha256:…", or "pending" while it computes that."""
        if not is_digest(self._digest):
            self._note_digest(self._ask_digest())
        return self._digest

    def _note_digest(self, digest: str) -> None:
        if is_digest(digest) and not is_digest(self._digest):
            self._digest = digest
        if is_digest(digest) and digest != self._digest:
            # A server that names its loads has refused the request.
            raise errors.LoadChangedError(
                f"the server holds another checkpoint now: its weights are {digest[:19]}…, and "
                f"this model was connected to {self._digest[:19]}…. model.reconnect() takes what "
                "it holds now"
            )

    def check_receipt(self, receipt: config.Receipt) -> None:
        """Checks that a run had these parameters.

        Raises:
            LoadChangedError: it had others.
        """
        ours, theirs = self._digest, receipt.weights_digest
        if is_digest(ours) and is_digest(theirs):
            if ours == theirs:
                return
        elif not self.load_id or not receipt.load_id or self.load_id == receipt.load_id:
            return
        raise errors.LoadChangedError(
            f"these activations are of other weights ({theirs[:19]}, load "
            f"{receipt.load_id or 'unknown'}) than the model has since reconnect() "
            f"({ours[:19]}, load {self.load_id or 'unknown'}): run the prompt again"
        )

    def __reduce__(self) -> Any:
        raise errors.HookwireError(
            "the weights are fetched from the server and cannot be pickled or copied: pickle the "
            "model, or one tensor, model.weights[name]"
        )

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> NoReturn:
        """As `__iter__`."""
        raise self._no_list()

    def __iter__(self) -> NoReturn:
        """The parameters are not listed here.

        Raises:
            UnsupportedError: always, also for `name in weights`.
        """
        raise self._no_list()

    @staticmethod
    def _no_list() -> errors.UnsupportedError:
        return errors.UnsupportedError(
            "a client has no list of the parameters: ask for one by its name, such as "
            'model.weights["blocks.3.attn.q.weight"]; the error for a wrong name suggests a right '
            "one"
        )

    def __setitem__(self, name: object, value: object) -> NoReturn:
        """The weights are the server's.

        Raises:
            UnsupportedError: always; it says what to change instead.
        """
        raise errors.UnsupportedError(
            "the weights are the server's, and all its clients share them: change activations "
            "with run_with_hooks instead"
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name in ("keys", "values", "items"):
            raise errors.NotHereError(str(self._no_list()))
        raise errors.NoAttributeError(
            f"model.weights has no attribute {name!r}: a parameter is asked for by its name, such "
            'as model.weights["blocks.3.attn.q.weight"]'
        )

    def __getitem__(self, name: str) -> Any:
        """A parameter, such as "blocks.3.attn.q.weight".

        A NumPy array is read-only: change a `.copy()` of it. A torch tensor is a copy, which the
        caller may change; it is made at each call, so keep it where it is needed often.

        Raises:
            WeightNotFoundError: no Gemma 4 has it (it is a KeyError).
            AbsentWeightError: this layer, or this model, does not have it (it is a KeyError).
            WeightsNotServedError: the server keeps its weights.
            ArgumentTypeError: no string.
        """
        found = self.shared(name)
        return found.clone() if dtypes.is_torch(found) else found

    def shared(self, name: str) -> Any:
        """A parameter, not to be written to: as `weights[name]`, without the copy of torch's."""
        self._check_name(name)
        with self._lock:
            found = self._tensors.get(name)
            if found is None:
                array = self._array(name)
                found = self._tensors[name] = self._tensor(array)
                if isinstance(found, np.ndarray):
                    # Not of what torch shares, which cannot know of it.
                    found.flags.writeable = False
            return found

    @staticmethod
    def _check_name(name: object) -> None:
        if not isinstance(name, str):
            raise errors.ArgumentTypeError(
                'a parameter is asked for by name, such as "blocks.3.attn.q.weight", not by '
                f"{errors.shown(name)}"
            )

    def _array(self, name: str) -> Array:
        found = self._arrays.get(name)
        if found is None:
            found = self._load(name)
        if found is None:
            found = self._get(name, None)
            if self._disk is not None:
                self._disk.store(self._digest, name, found)
        self._arrays[name] = found
        self._rows.pop(name, None)
        return found

    def _load(self, name: str) -> Array | None:
        if self._disk is None:
            return None
        return self._disk.load(self.digest, self._dtype, name)

    def _get(self, name: str, rows: Sequence[int] | None) -> Array:
        if name in self._absent:
            raise self._absent[name]
        try:
            array, digest = self._fetch(name, rows)
        except errors.AbsentWeightError as error:
            self._absent[name] = error
            raise
        self._note_digest(digest)
        return array

    def rows(self, name: str, rows: Any) -> Any:
        """Rows of a parameter along its first axis, [row, …].

        Those that are not here yet are fetched, and no others.

        Args:
            name: of the parameter.
            rows: their numbers, in any order, with repeats; negative ones count from the end.

        Raises:
            WeightRowError: a row that the parameter does not have (an IndexError).
            WeightNotFoundError, AbsentWeightError, WeightsNotServedError: as for a whole one.
            ArgumentTypeError: no name, or no ints.
        """
        self._check_name(name)
        wanted = [
            selection.integer(row, "rows", "an int or a list of ints")
            for row in np.ravel(dtypes.to_numpy(rows))
        ]
        with self._lock:
            whole = self._arrays.get(name)
            if whole is None:
                whole = self._load(name)
                if whole is not None:
                    self._arrays[name] = whole
            if whole is not None:
                return self._tensor(self._pick(name, whole, wanted))
            known = self._rows.setdefault(name, {})
            missing = list(dict.fromkeys(row for row in wanted if row not in known))
            for at in range(0, len(missing), _ROWS_AT_ONCE):
                some = missing[at : at + _ROWS_AT_ONCE]
                known.update(zip(some, self._get(name, some), strict=True))
            return self._tensor(np.stack([known[row] for row in wanted]))

    @staticmethod
    def _pick(name: str, whole: Array, rows: Sequence[int]) -> Array:
        try:
            picked: Array = np.array(whole[list(rows)])
        except IndexError:
            outside = next(row for row in rows if not -len(whole) <= row < len(whole))
            raise errors.WeightRowError(
                f"{name} has {len(whole):,} rows, and no row {outside}", metadata={"weight": name}
            ) from None
        return picked


# Of one request, whose size the server limits.
_ROWS_AT_ONCE = 65_536
