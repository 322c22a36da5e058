"""Caches that come from a file."""

from __future__ import annotations

import os
from pathlib import Path

from hookwire.api.blocking.model import RemoteModel
from hookwire.api.wishes import Wishes
from hookwire.cache import ActivationCache, saved
from hookwire.errors import arguments
from hookwire.facts import dtypes


@arguments.checked("hookwire.load_cache")
def load_cache(
    path: str | os.PathLike[str],
    model: RemoteModel | None = None,
    tensors: dtypes.Tensors = "auto",
) -> ActivationCache:
    """The cache that `cache.save` has written to a file.

    It has the tensors, keys, mask and receipt of the cache that was saved, and all its methods.
    Those that need weights or the tokenizer ask the server for them.

    Args:
        path: of the file.
        model: the model to ask. Default: one that connects, when it is first needed, to the server
            that the run was on.
        tensors: what the tensors are, without `model`: "torch", "numpy", or "auto": torch where it
            is installed. With `model`: what its results are.

    Raises:
        FileError: there is no such file, or another program has written it.
    """
    file = saved.read(Path(path))
    if model is None:
        wishes = Wishes("torch" if dtypes.wants_torch(tensors) else "numpy")
        model = RemoteModel._described(
            {"address": file.address, "answer": file.answer, "wishes": wishes}
        )
    mask = model.tensor(file.tensors[saved.MASK])
    made = {name: model.tensor(array) for name, array in file.tensors.items() if name != saved.MASK}
    cache = ActivationCache(
        {key: made[name] for key, name in file.keys.items()},
        model=model,
        mask=lambda: mask,
        batch=file.batch,
        receipt=file.receipt,
    )
    cache.has_batch_dim = file.has_batch_dim
    if file.names is not None:
        cache._names = {name: tuple(every) for name, every in file.names.items()}
    return cache
