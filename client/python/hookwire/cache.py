"""The activations of a run, by name."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any

from hookwire import catalogue, config, errors
from hookwire.names import get_act_name


class ActivationCache(Mapping[str, Any]):
    """What `run_with_cache` captured: a mapping from names to tensors [batch, pos, …].

    Names are those that the filter matched, in the order of the pass. A short name is understood
    too, as in TransformerLens: `cache["pattern", 5]`, `cache["q", 3]`, `cache["resid_post", -1]`,
    `cache["embed"]`, `cache["scale", 2, "ln1"]`; and so is any other name of a captured hook point.

    Attributes:
        receipt: what ran, where, on which weights.
        has_batch_dim: whether tensors have the batch in front.
    """

    def __init__(
        self,
        tensors: dict[str, Any],
        *,
        mask: Callable[[], Any],
        batch: int,
        receipt: config.Receipt,
        n_layers: int,
        hooks: Callable[[], catalogue.Catalogue],
    ) -> None:
        self.cache_dict = tensors
        self._make_mask = mask
        self._batch = batch
        self.receipt = receipt
        self.has_batch_dim = True
        self._n_layers = n_layers
        self._hooks = hooks

    def __getitem__(self, key: str | tuple[Any, ...]) -> Any:
        """The tensor under a name, or a short name with its layer and component.

        Raises:
            HookNotFoundError: nothing was captured under that name (it is a KeyError).
        """
        found = self.cache_dict.get(key) if isinstance(key, str) else None
        if found is not None:
            return found
        name = self._full_name(key)
        found = self.cache_dict.get(name)
        if found is not None:
            return found
        point = self._hooks().get(name)
        for other in () if point is None else (point.name, *point.aliases):
            if other in self.cache_dict:
                return self.cache_dict[other]
        raise self._missing(key, name, point)

    def _full_name(self, key: Any) -> str:
        if isinstance(key, str):
            return get_act_name(key)
        if not isinstance(key, tuple) or not key or not isinstance(key[0], str):
            raise TypeError(f"a key is a name or (name, layer, component), not {key!r}")
        name, layer, *rest = (*key, None) if len(key) == 1 else key
        if layer is not None and layer < 0:
            layer += self._n_layers
        return get_act_name(name, layer, *rest)

    def _missing(self, key: Any, name: str, point: catalogue.HookPoint | None) -> Exception:
        shown = repr(key) if key == name else f"{key!r} ({name})"
        if point is not None:
            message = f"{shown} was not captured; names_filter did not ask for it"
            return errors.HookNotFoundError(message, metadata={"hook": name})
        close = catalogue.nearest(name, self.cache_dict)
        hint = f"; nearest: {', '.join(close)}" if close else ""
        return errors.HookNotFoundError(
            f"{shown} is not in the cache of {len(self.cache_dict)} names{hint}",
            metadata={"hook": name, "suggestion": close[0] if close else ""},
        )

    @property
    def mask(self) -> Any:
        """Bool [batch, pos]: False where a captured position is padding; there, all is zero."""
        mask = self._make_mask()
        return mask if self.has_batch_dim else mask[0]

    def __contains__(self, key: object) -> bool:
        return key in self.cache_dict

    def __iter__(self) -> Iterator[str]:
        return iter(self.cache_dict)

    def __len__(self) -> int:
        return len(self.cache_dict)

    def keys(self) -> KeysView[str]:
        """The names."""
        return self.cache_dict.keys()

    def values(self) -> ValuesView[Any]:
        """The tensors."""
        return self.cache_dict.values()

    def items(self) -> ItemsView[str, Any]:
        """Names and tensors."""
        return self.cache_dict.items()

    def remove_batch_dim(self) -> ActivationCache:
        """Takes the batch off every tensor of a run with one row, and returns the cache.

        Raises:
            ValueError: the run had several rows.
        """
        if not self.has_batch_dim:
            return self
        if self._batch != 1:
            raise ValueError(f"the batch has {self._batch} rows; its axis cannot be removed")
        for name, tensor in self.cache_dict.items():
            self.cache_dict[name] = tensor[0]
        self.has_batch_dim = False
        return self

    def to(self, device: Any) -> ActivationCache:
        """Moves torch tensors to a device, and returns the cache."""
        for name, tensor in self.cache_dict.items():
            self.cache_dict[name] = tensor.to(device)
        return self

    def __repr__(self) -> str:
        return f"ActivationCache with keys {list(self.cache_dict)}"
