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
    """Reads a cache from a file that `cache.save` has written.

    Args:
        path: the file.
        model: the model that methods ask for weights and the tokenizer. Default: a model that
            connects to the server of the run when a method first needs it.
        tensors: without `model`: "torch", "numpy", or "auto", which is torch if it is installed.
            With `model`, the tensors are of the kind of its results.

    Returns:
        A cache with the tensors, keys, mask and receipt of the one that was saved, and with all its
        methods.

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
