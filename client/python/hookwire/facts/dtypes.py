"""Element types: on the wire, in NumPy, in torch.

torch is imported only where the user has it and wants tensors of it, or hands one in.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from typing import Any, Literal

import ml_dtypes
import numpy as np

from hookwire import errors
from hookwire._proto import tensor_pb2 as pb

Array = np.ndarray[Any, Any]
Tensors = Literal["auto", "torch", "numpy"]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

NUMPY: dict[int, np.dtype[Any]] = {
    pb.DTYPE_FLOAT32: np.dtype("<f4"),
    pb.DTYPE_BFLOAT16: BFLOAT16,
    pb.DTYPE_FLOAT16: np.dtype("<f2"),
    pb.DTYPE_FLOAT64: np.dtype("<f8"),
    pb.DTYPE_INT64: np.dtype("<i8"),
}
"""The NumPy type of each `Dtype` of the wire."""

NAMES: dict[int, str] = {number: dtype.name for number, dtype in NUMPY.items()}
"""The name of each: "float32", "bfloat16", "float16", "float64", "int64"."""

_NUMBERS = {name: number for number, name in NAMES.items()}
# What np.load makes of bfloat16.
_NAMELESS = np.dtype("V2")
# What an array of a type that NumPy does not know is called by torch while it is being handed over.
_CARRIER = np.dtype("<i2")


def number(dtype: Any) -> int:
    """The wire's number of a dtype given as a name, a NumPy dtype or a torch dtype; None is 0.

    Raises:
        ArgumentTypeError: a dtype that the wire does not have.
    """
    if dtype is None:
        return 0
    name = str(dtype).removeprefix("torch.") if not isinstance(dtype, type) else ""
    if name not in _NUMBERS:
        try:
            name = np.dtype(dtype).name
        except (TypeError, ValueError, SyntaxError):  # NumPy parses names such as "1,,2"
            name = str(dtype)
    if name not in _NUMBERS:
        raise errors.ArgumentTypeError(
            f"dtype must be one of {', '.join(sorted(_NUMBERS))}, not {dtype!r}"
        )
    return _NUMBERS[name]


def is_floating(dtype: np.dtype[Any]) -> bool:
    """Whether the dtype is one of floating point, bfloat16 included."""
    return dtype.kind == "f" or dtype == ml_dtypes.bfloat16


def is_torch(value: object) -> bool:
    """Whether the value is a torch.Tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_iterable(value: object) -> bool:
    """Whether one can go over the elements of a value, which an array without an axis has not."""
    return isinstance(value, Iterable) and getattr(value, "ndim", 1) != 0


def to_numpy(value: Any) -> Array:
    """A NumPy array of a torch tensor (off its device and its graph), an array or a list of them.

    Raises:
        ArgumentTypeError: a tensor that NumPy cannot hold (sparse, quantized, float8, without data)
            an array with masked elements, or one whose element type `np.save` has lost.
        ValueError: a list whose rows have different lengths.
    """
    if is_torch(value):
        return _of_torch(value)
    if isinstance(value, (list, tuple)):
        value = _without_torch(value)
    elif isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        raise errors.ArgumentTypeError(
            "an array with masked elements cannot be read: fill them, as in value.filled(0)"
        )
    array = np.asarray(value)
    if array.dtype == _NAMELESS:
        raise errors.ArgumentTypeError(
            "an array of |V2 has no numbers: np.save writes bfloat16 without its name. Read it "
            'with np.load(path).view("bfloat16"), or use cache.save and hookwire.load_cache'
        )
    return array


def _without_torch(value: Any) -> Any:
    """Lists with arrays in place of torch tensors, which NumPy takes apart number by number."""
    if is_torch(value):
        return _of_torch(value)
    if not isinstance(value, (list, tuple)):
        return value
    nested = any(isinstance(item, (list, tuple)) or is_torch(item) for item in value)
    return [_without_torch(item) for item in value] if nested else value


def _of_torch(value: Any) -> Array:
    torch = sys.modules["torch"]
    try:
        tensor = value.detach().cpu().contiguous()
        if tensor.dtype == torch.bfloat16:
            carried: Array = tensor.view(torch.int16).numpy()
            return carried.view(ml_dtypes.bfloat16)
        array: Array = tensor.resolve_neg().resolve_conj().numpy()
    except (TypeError, RuntimeError) as error:
        raise errors.ArgumentTypeError(
            f"a {value.dtype} tensor of layout {value.layout} on {value.device} cannot be read: "
            f"make it a dense one of float32 on a real device first ({_first_line(error)})"
        ) from error
    return array


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]


def check_device(device: Any, use_torch: bool) -> None:
    """Checks where tensors are to go, before they are computed.

    Raises:
        UnsupportedError: they are NumPy arrays.
        ArgumentError: this process has no such device.
    """
    if not use_torch:
        raise errors.UnsupportedError('NumPy arrays have no device: connect with tensors="torch"')
    import torch

    try:
        torch.empty(0, device=device)
    except Exception as error:  # whatever torch raises, which differs from device to device
        raise errors.ArgumentError(
            f"device: tensors cannot go to {device!r} in this process: {_first_line(error)}"
        ) from None


def wants_torch(choice: Tensors) -> bool:
    """Whether results are to be torch tensors.

    Raises:
        MissingExtraError: "torch" was asked for and is not installed.
        ArgumentError: none of the three choices.
    """
    if choice not in ("auto", "torch", "numpy"):
        raise errors.ArgumentError(f'tensors must be "auto", "torch" or "numpy", not {choice!r}')
    if choice == "numpy":
        return False
    installed = "torch" in sys.modules or importlib.util.find_spec("torch") is not None
    if choice == "torch" and not installed:
        raise errors.MissingExtraError(
            'tensors="torch" needs torch, which is not installed: pip install torch, or connect '
            'with tensors="numpy"'
        )
    return installed


def to_torch(array: Array) -> Any:
    """A torch tensor over the array's own memory."""
    import torch

    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(_CARRIER)).view(torch.bfloat16)
    return torch.from_numpy(array)
