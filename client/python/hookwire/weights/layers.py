"""The weights under TransformerLens's names and in its orientation: `model.W_Q[3]`.

Layers of a Gemma 4 differ in the width of a head, the number of key-value heads and the width of
the MLP, and some have no keys or values of their own. So a weight that is one tensor [layer, …] in
TransformerLens is a sequence here, with one tensor for each layer. It can be used as one tensor if
all layers have the same shape; otherwise an error says why not.

As with `model.weights`, users cannot change the model's own weights: NumPy arrays are read-only,
and torch tensors are copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, overload

import numpy as np

from hookwire import errors
from hookwire.errors import arguments
from hookwire.facts import dtypes

if TYPE_CHECKING:
    pass


@arguments.checked_methods("weights")
class LayerWeights(Sequence[Any]):
    """One tensor for each layer, fetched when it is first needed.

    `model.W_Q[3]` is the tensor of layer 3, `model.W_Q[-1]` that of the last layer, and
    `model.W_Q[2:4]` a list. If all layers have the same shape, this can be used like
    TransformerLens's one tensor [layer, …]: in functions of torch and NumPy, with `@`, and with
    `.stack()`; `.shape` is then the shape of that tensor.
    """

    def __init__(self, name: str, get: Callable[[int], Any], n_layers: int) -> None:
        self._name = name
        self._get = get
        self._n_layers = n_layers

    def __len__(self) -> int:
        return self._n_layers

    @overload
    def __getitem__(self, layer: int) -> Any: ...
    @overload
    def __getitem__(self, layer: slice) -> list[Any]: ...
    def __getitem__(self, layer: Any) -> Any:
        """Returns the tensor of a layer, or a list of them.

        Args:
            layer: an int, where negative counts from the last; or a slice.

        Raises:
            LayerOutOfRangeError: the model does not have this layer.
            ArgumentTypeError: neither an int nor a slice.
            AbsentWeightError: this layer has no such tensor; the message says why.
            WeightsNotServedError: the server does not send its weights.
        """
        if isinstance(layer, slice):
            return [self._get(at) for at in range(self._n_layers)[layer]]
        if isinstance(layer, tuple):  # model.W_Q[3, 0]
            return self._part(layer)
        try:
            at = range(self._n_layers)[layer]
        except TypeError:
            raise errors.ArgumentTypeError(
                f"{self._name}[{layer!r}]: a layer is a number or a slice"
            ) from None
        except IndexError:
            raise errors.LayerOutOfRangeError(
                f"{self._name}[{layer}]: this model has layers 0 to {self._n_layers - 1}"
            ) from None
        return self._get(at)

    def _part(self, index: tuple[Any, ...]) -> Any:
        """What an index of several axes selects, the layer first."""
        is_number = index and not isinstance(index[0], slice) and index[0] is not Ellipsis
        whole = self[index[0]] if is_number else self.stack()
        try:
            return whole[index[1:] if is_number else index]
        except (IndexError, TypeError, ValueError):
            of = f"layer {index[0]} has" if is_number else "it has"
            raise errors.SliceOutOfRangeError(
                f"{self._name}[{', '.join(map(repr, index))}] selects what is not there: {of} the "
                f"shape {list(whole.shape)}"
            ) from None

    def __getattr__(self, name: str) -> NoReturn:
        raise errors.NoAttributeError(
            f"{self._name} has a tensor for each layer, and no attribute {name!r}: take "
            f"{self._name}[layer].{name}, or {self._name}.stack().{name} where layers are alike"
        )

    def __iter__(self) -> Iterator[Any]:
        return map(self._get, range(self._n_layers))

    def __reduce__(self) -> Any:
        raise errors.HookwireError(
            f"{self._name} fetches from the server and cannot be pickled or copied: pickle the "
            f"model, or one tensor, {self._name}[layer] or {self._name}.stack()"
        )

    def __repr__(self) -> str:
        return f"{self._name} of {self._n_layers} layers; {self._name}[layer] is one"

    def stack(self) -> Any:
        """Returns the tensors of all layers as one.

        Returns:
            [layer, …].

        Raises:
            LayersDifferError: the layers' shapes differ, or some layers have no tensor.
        """
        tensors = []
        for layer in range(self._n_layers):
            try:
                tensors.append(self._get(layer))
            except errors.AbsentWeightError as error:
                raise errors.LayersDifferError(
                    f"{self._name} cannot be one tensor: {error}; take {self._name}[layer]"
                ) from None
        shapes = [tuple(tensor.shape) for tensor in tensors]
        if len(set(shapes)) > 1:
            other = next(at for at, shape in enumerate(shapes) if shape != shapes[0])
            raise errors.LayersDifferError(
                f"{self._name} cannot be one tensor: layer 0 has {list(shapes[0])}, layer {other} "
                f"{list(shapes[other])}; take {self._name}[layer]"
            )
        if dtypes.is_torch(tensors[0]):
            import torch

            return torch.stack(tensors)
        return np.stack(tensors)

    @property
    def shape(self) -> Any:
        """The shape of the one tensor, [layer, …].

        Raises:
            LayersDifferError: the layers' shapes differ, or some layers have no tensor.
        """
        return self.stack().shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        del copy
        return np.asarray(dtypes.to_numpy(self.stack()), dtype=dtype)

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        def as_tensor(value: Any) -> Any:
            return value.stack() if isinstance(value, LayerWeights) else value

        made = tuple(as_tensor(value) for value in args)
        return function(*made, **{key: as_tensor(x) for key, x in (kwargs or {}).items()})

    def __matmul__(self, other: Any) -> Any:
        return self.stack() @ other

    def __rmatmul__(self, other: Any) -> Any:
        return other @ self.stack()

    def __add__(self, other: Any) -> Any:
        return self.stack() + other

    def __radd__(self, other: Any) -> Any:
        return other + self.stack()

    def __sub__(self, other: Any) -> Any:
        return self.stack() - other

    def __rsub__(self, other: Any) -> Any:
        return other - self.stack()

    def __mul__(self, other: Any) -> Any:
        return self.stack() * other

    def __rmul__(self, other: Any) -> Any:
        return other * self.stack()

    def __truediv__(self, other: Any) -> Any:
        return self.stack() / other

    def __neg__(self) -> Any:
        return -self.stack()
