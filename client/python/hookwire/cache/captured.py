"""The tensors of a run, found by any of their names."""

from __future__ import annotations

import contextlib
import copy
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hookwire import errors
from hookwire.cache import saved
from hookwire.cache.slices import Slice
from hookwire.cache.source import Source
from hookwire.errors import arguments, wording
from hookwire.errors.nearest import nearest
from hookwire.facts import config, display, dtypes, selection, tensor_file
from hookwire.facts.catalogue import missing_hook
from hookwire.facts.names import get_act_name, with_short_names

if TYPE_CHECKING:
    from typing_extensions import Self

    from hookwire.weights.parameters import Weights


_LAYER = re.compile(r"^blocks\.(\d+)\.")


def _layer_of(name: str) -> int:
    """The layer of a hook point; -1 for one in no layer."""
    found = _LAYER.match(name)
    return int(found[1]) if found else -1


@arguments.checked_methods("cache")
class Captured(Mapping[str, Any]):
    """A mapping from names to tensors: the part of `ActivationCache` without arithmetic."""

    has_pos_embed = False
    # For each name of what was captured, all names of that hook point; None: the catalogue says so.
    _names: dict[str, tuple[str, ...]] | None = None

    def __init__(
        self,
        tensors: dict[str, Any],
        *,
        model: Source,
        mask: Callable[[], Any],
        batch: int,
        receipt: config.Receipt,
    ) -> None:
        self.cache_dict = tensors
        self.model = model
        self._make_mask = mask
        self._batch = batch
        self.receipt = receipt
        self.has_batch_dim = True

    @property
    def cfg(self) -> config.Config:
        """The model's configuration."""
        return self.model.cfg

    @property
    def weights(self) -> Weights:
        """The model's parameters. Each is fetched from the server when it is first needed.

        Raises:
            LoadChangedError: the model has connected to other weights since this run.
        """
        weights = self.model.weights
        weights.check_receipt(self.receipt)
        return weights

    @property
    def has_embed(self) -> bool:
        """Whether the embedding was captured."""
        return self.find("hook_embed") is not None

    def __getitem__(self, key: str | tuple[Any, ...]) -> Any:
        """Returns the tensor of a hook point, [batch, pos, …].

        Args:
            key: a name, an alias, a short name such as "embed", or a short name with its layer
                and component, such as ("scale", 2, "ln1").

        Raises:
            HookNotFoundError: nothing was captured under that name (it is a KeyError).
            AbsentHookError: this layer or model does not have it; the message says why.
        """
        found = self.cache_dict.get(key) if isinstance(key, str) else None
        if found is not None:
            return found
        name = self._full_name(key)
        found = self.find(name)
        if found is None:
            if self._names is None and not self._names_of(name) and "." in name:
                # It may be one that other layers have; the server says why this one has not.
                with contextlib.suppress(errors.HookNotFoundError):
                    self.model._ask_why(name)
            raise self._missing(key, name)
        return found

    def __contains__(self, key: object) -> bool:
        try:
            return self._lookup(key) is not None
        except errors.HookNotFoundError:  # a layer that there is not
            return False

    def get(self, key: Any, default: Any = None) -> Any:
        """Returns the tensor of a hook point, [batch, pos, …], or `default`.

        Args:
            key: as in `cache[key]`.
            default: what to return if it was not captured.
        """
        try:
            found = self._lookup(key)
        except errors.HookNotFoundError:
            return default
        return default if found is None else found

    def _lookup(self, key: Any) -> Any:
        """The tensor under a key, or None."""
        found = self.cache_dict.get(key) if isinstance(key, str) else None
        return self.find(self._full_name(key)) if found is None else found

    def find(self, name: str) -> Any:
        """Returns the tensor of a hook point, [batch, pos, …]; None if it was not captured.

        Args:
            name: its canonical name or an alias, whichever was captured.
        """
        found = self.cache_dict.get(name)
        if found is not None:
            return found
        others = self._names_of(name)
        return next((self.cache_dict[other] for other in others if other in self.cache_dict), None)

    def _names_of(self, name: str) -> tuple[str, ...]:
        """All names of the hook point that has this one; none where no hook point has."""
        if self._names is not None:
            return self._names.get(name, ())
        point = self.model.catalogue().get(name)
        return () if point is None else (point.name, *point.aliases)

    def _any_tensor(self) -> Any:
        """One of the tensors: they are all torch's, or all NumPy's. None: nothing was captured."""
        return next(iter(self.cache_dict.values()), None)

    def need(self, names: Sequence[str]) -> list[Any]:
        """Returns the tensors of hook points.

        Args:
            names: canonical names or aliases.

        Returns:
            A list of tensors [batch, pos, …], in the order of the names.

        Raises:
            HookNotFoundError: some were not captured; the message names them all.
        """
        tensors = [self.find(name) for name in names]
        lacking = [name for name, x in zip(names, tensors, strict=True) if x is None]
        if not lacking:
            return tensors
        end = self.receipt.n_layers_run
        what = "add them to names_filter"
        if end < self.cfg.n_layers and any(_layer_of(name) >= end for name in lacking):
            what = f"the run ended before layer {end} (stop_at_layer), and has no later layers"
        raise errors.HookNotFoundError(
            f"this needs hook points that were not captured: {', '.join(self._short(lacking))}; "
            f"{what}",
            metadata={"hook": lacking[0]},
        )

    def _short(self, names: Sequence[str]) -> list[str]:
        """The names, with a glob in place of those that are of every layer."""
        by_glob: dict[str, list[str]] = {}
        for name in names:
            by_glob.setdefault(_LAYER.sub("blocks.*.", name), []).append(name)
        found: list[str] = []
        for glob, of_it in by_glob.items():
            found += [glob] if len(of_it) == self.cfg.n_layers else of_it
        return found

    def _full_name(self, key: Any) -> str:
        given = key[0] if isinstance(key, tuple) and key else key
        if isinstance(given, str) and not given.strip():
            raise missing_hook(given, ())
        if isinstance(key, str):
            return get_act_name(key)
        if not isinstance(key, tuple) or not key or not isinstance(key[0], str):
            raise self._no_key(key)
        name, layer, *rest = (*key, None) if len(key) == 1 else key
        if len(rest) > 1 or not all(part is None or isinstance(part, str) for part in rest):
            raise self._no_key(key)
        if layer is not None:
            number = selection.integer(layer, "the layer in a key")
            if not -self.cfg.n_layers <= number < self.cfg.n_layers:
                raise errors.HookNotFoundError(
                    f"{key!r}: the model has layers 0 to {self.cfg.n_layers - 1}"
                )
            layer = number % self.cfg.n_layers
        return get_act_name(name, layer, *rest)

    @staticmethod
    def _no_key(key: Any) -> errors.ArgumentTypeError:
        return errors.ArgumentTypeError(
            'a key is a name, such as "hook_embed", or (name, layer, component), such as '
            f'("resid_post", 3) and ("scale", 3, "ln1"), not {key!r}'
        )

    def _missing(self, key: Any, name: str) -> Exception:
        given = key
        while isinstance(given, tuple) and given[-1] is None:
            given = given[:-1]
        shown = repr(given) if given == name else f"{given!r} ({name})"
        if not self._names_of(name) and _layer_of(name) >= self.cfg.n_layers:
            message = f"{shown}: the model has layers 0 to {self.cfg.n_layers - 1}"
            return errors.HookNotFoundError(message, metadata={"hook": name})
        if self._names_of(name):
            message = f"{shown} was not captured; names_filter did not ask for it"
            return errors.HookNotFoundError(message, metadata={"hook": name})
        if isinstance(key, str) and self.find(self._of_layer(key, 0)) is not None:
            hint = f"; each layer has one: cache[{key!r}, layer]"
            close = []
        else:
            near = nearest(name, self.cache_dict, len(self.cache_dict), of_all_layers=False)
            same = [each for each in near if _layer_of(each) == _layer_of(name)]
            close = (same or near)[:3]
            hint = f"; nearest: {', '.join(close)}" if close else ""
        return errors.HookNotFoundError(
            f"{shown} is not in the cache of {len(self.cache_dict)} names{hint}",
            metadata={"hook": name, "suggestion": close[0] if close else ""},
        )

    @staticmethod
    def _of_layer(key: str, layer: int) -> str:
        return get_act_name(key.removeprefix("hook_"), layer)

    @property
    def mask(self) -> Any:
        """Bool [batch, pos]: False if a captured position is padding, where tensors are zero."""
        mask = self._make_mask()
        return mask if self.has_batch_dim else mask[0]

    def __setitem__(self, key: object, value: object) -> NoReturn:
        """Not supported: a cache has what a run captured.

        Raises:
            ArgumentTypeError: always; the message says where tensors can be set.
        """
        raise errors.ArgumentTypeError(
            f"cache[{key!r}] cannot be set, because a cache has what a run captured; "
            "cache.cache_dict is a dict of the same tensors that can be changed"
        )

    def __delitem__(self, key: object) -> NoReturn:
        """As `__setitem__`."""
        raise errors.ArgumentTypeError(
            f"cache[{key!r}] cannot be deleted, because a cache has what a run captured; "
            "cache.cache_dict is a dict of the same tensors that can be changed"
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise errors.NoAttributeError(f"a cache has no attribute {name!r}")
        if hasattr(type(self), name):
            # A property has raised an AttributeError: its own is the better one.
            object.__getattribute__(self, name)
        near = nearest(name, [each for each in dir(type(self)) if not each.startswith("_")], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        if hasattr(dict, name):
            hint = (
                ", as it is what a run captured: cache.cache_dict is a dict of the same tensors, "
                f"which has {name!r}"
            )
        # Without the catalogue, which may have to be asked for.
        tensors = self.__dict__.get("cache_dict", {})
        if get_act_name(name) in tensors:
            hint = f"; the tensor is cache[{name!r}]"
        elif get_act_name(name, 0) in tensors:
            hint = f"; the tensor of a layer is cache[{name!r}, layer]"
        raise errors.NoAttributeError(f"a cache has no attribute {name!r}{hint}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.cache_dict)

    def __len__(self) -> int:
        return len(self.cache_dict)

    def __repr__(self) -> str:
        return f"ActivationCache with keys {display.shortened([*self.cache_dict])}"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        tensors = self.cache_dict
        rows = [
            (name, display.shape(x.shape), str(x.dtype).removeprefix("torch."))
            for name, x in tensors.items()
        ]
        size = display.size(sum(x.nbytes for x in tensors.values()))
        title = f"ActivationCache: {wording.counted(len(tensors), 'tensor')}, {size}"
        return display.table(title, ("name", "shape", "dtype"), rows)

    def _ipython_key_completions_(self) -> list[Any]:
        """The names for the Tab key, and the short names with their layers."""
        return with_short_names(self.cache_dict)

    def remove_batch_dim(self, batch_size: int | None = None) -> Self:
        """Removes the batch axis of every tensor of a run with one row, and returns the cache.

        Args:
            batch_size: the number of rows, which is checked. Default: not checked.

        Returns:
            This cache, with tensors [pos, …].

        Raises:
            ArgumentError: the run had several rows, or another number than `batch_size`.
        """
        if not self.has_batch_dim:
            return self
        if batch_size is not None and batch_size != self._batch:
            raise errors.ArgumentError(
                f"batch_size={errors.shown(batch_size)} is not that of this cache, which has "
                f"{wording.counted(self._batch, 'row')}; it need not be given"
            )
        if self._batch != 1:
            raise errors.ArgumentError(
                f"remove_batch_dim needs a cache of a single row, and this one has {self._batch}: "
                "cache.apply_slice_to_batch_dim(row) gives that of one row"
            )
        for name, tensor in self.cache_dict.items():
            self.cache_dict[name] = tensor[0]
        self.has_batch_dim = False
        return self

    def apply_slice_to_batch_dim(self, batch_slice: Any) -> Self:
        """Returns a new cache with some rows of the batch.

        Args:
            batch_slice: rows: a list or a slice; or an int, which removes the batch axis.

        Returns:
            A cache with tensors [row, pos, …], or [pos, …] for an int.

        Raises:
            ArgumentError: the cache has no batch axis any more.
            SliceOutOfRangeError: rows that the cache does not have.
        """
        rows = Slice(batch_slice, "batch_slice")
        if not self.has_batch_dim and rows.mode != "identity":
            raise errors.ArgumentError(
                f"batch_slice={batch_slice!r} chooses rows, and this cache has no batch any more: "
                "remove_batch_dim, or the choice of a single row, has taken it away"
            )
        sliced = {name: rows.apply(tensor) for name, tensor in self.cache_dict.items()}
        kept = Slice.unwrap(batch_slice)

        def mask() -> Any:
            return kept.apply(self._make_mask())

        made = type(self)(
            sliced,
            model=self.model,
            mask=mask,
            batch=len(kept.indices(self._batch)),
            receipt=self.receipt,
        )
        made.has_batch_dim, made._names = self.has_batch_dim and rows.mode != "int", self._names
        return made

    def to(self, device: Any) -> Self:
        """Moves torch tensors to a device, and returns the cache.

        Args:
            device: a `torch.device`, or its name, such as "cuda".

        Returns:
            This cache.

        Raises:
            UnsupportedError: the tensors are NumPy arrays.
            ArgumentError: this process has no such device.
        """
        dtypes.check_device(device, all(hasattr(x, "to") for x in self.cache_dict.values()))
        for name, tensor in self.cache_dict.items():
            self.cache_dict[name] = tensor.to(device)
        return self

    def __copy__(self) -> Self:
        return self._like(dict(self.cache_dict), self._make_mask)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # The connection is shared, as it is by the caches of one model.
        return self._like(copy.deepcopy(self.cache_dict, memo), self._make_mask)

    def _like(self, tensors: dict[str, Any], mask: Callable[[], Any]) -> Self:
        """A cache of the same run with other tensors."""
        made = type(self)(
            tensors, model=self.model, mask=mask, batch=self._batch, receipt=self.receipt
        )
        made.has_batch_dim, made._names = self.has_batch_dim, self._names
        return made

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the cache to a file, which `hookwire.load_cache` reads.

        It is a safetensors file, so other programs can read it too. It has each distinct tensor
        under the first of its keys (bfloat16 stays bfloat16, also from NumPy), the mask as "mask",
        and the receipt as JSON in the metadata. Nothing in it is pickled.

        Args:
            path: ends with ".safetensors", or has no suffix. An existing file is replaced in one
                step, when all has been written.

        Raises:
            ArgumentError: another suffix.
            FileError: the file cannot be written.
        """
        file = Path(path)
        if file.suffix.lower() not in ("", tensor_file.SUFFIX):
            raise errors.ArgumentError(
                f"{file}: a cache is written as {tensor_file.SUFFIX}, not {file.suffix}"
            )
        saved.write(file, self._state(), self.model._description())

    def __reduce__(self) -> Any:
        return _unpickled, (type(self), {**self._state(), "model": self.model._again()})

    def _state(self) -> dict[str, Any]:
        """What makes this cache, but for its model."""
        names = None
        with contextlib.suppress(errors.HookwireError):  # then the catalogue is asked for later
            known = [self._names_of(name) for name in self.cache_dict]
            names = {name: every for every in known for name in every}
        return {
            "tensors": self.cache_dict,
            "mask": self._make_mask(),
            "batch": self._batch,
            "receipt": self.receipt,
            "has_batch_dim": self.has_batch_dim,
            "names": names,
        }


def _unpickled(cls: type[Captured], state: dict[str, Any]) -> Captured:
    make, description = state["model"]
    mask = state["mask"]
    made = cls(
        state["tensors"],
        model=make(description),
        mask=lambda: mask,
        batch=state["batch"],
        receipt=state["receipt"],
    )
    made.has_batch_dim, made._names = state["has_batch_dim"], state["names"]
    return made
