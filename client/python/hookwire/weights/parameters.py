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

    No user can change a parameter that others use, such as the methods of caches: NumPy arrays and
    all their views are read-only, and each call returns a torch tensor of its own.

    Args:
        fetch: gets a parameter, or some of its rows, from the server.
        ask_digest: asks the server for the digest of its weights, which may be "pending".
        digest: the digest that the server sent at first.
        dtype: the dtype that the server computes in.
        tensor: makes a result tensor of an array.
        disk: where parameters are stored; None: nowhere.
        load_id: the load of these parameters; empty if the server sends no name.
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
        """The digest of the server's weights, "sha256:…"; or "pending": it is not computed yet."""
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
        """Checks that a run was computed with these parameters.

        Args:
            receipt: the receipt of the run.

        Raises:
            LoadChangedError: it was computed with others.
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
        """Returns a parameter, in its shape in the checkpoint, such as [out, in] of a projection.

        A NumPy array is read-only: change a `.copy()` of it. A torch tensor is a copy, which the
        caller may change. Each call makes a new copy, so keep one that you need often.

        Args:
            name: the full name, such as "blocks.3.attn.q.weight".

        Raises:
            WeightNotFoundError: there is no such parameter (it is a KeyError).
            AbsentWeightError: this layer or this model does not have it (it is a KeyError).
            WeightsNotServedError: the server does not send its weights.
            LoadChangedError: the server was restarted with another load.
            ArgumentTypeError: not a string.
        """
        found = self.shared(name)
        return found.clone() if dtypes.is_torch(found) else found

    def shared(self, name: str) -> Any:
        """Returns a parameter as `weights[name]` does, but without a copy of torch tensors.

        Do not write to it: the change would be seen by all users of the parameter.

        Args:
            name: the full name.
        """
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
        """Returns rows of a parameter. Only rows that were not fetched before are fetched.

        Args:
            name: the full name of the parameter.
            rows: indices along the first axis, in any order; repeats are allowed, and negative ones
                count from the end.

        Returns:
            [row, …].

        Raises:
            WeightRowError: the parameter does not have a row (it is an IndexError).
            WeightNotFoundError, AbsentWeightError, WeightsNotServedError: as for a whole parameter.
            ArgumentTypeError: `name` is not a string, or `rows` are not ints.
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
