"""A process that hands a connected model to its children; `test_life` runs it.

usage: python -m tests.client.children ADDRESS KIND

It prints "ok" when every child has had the parent's results from calls of its own.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import hookwire
import numpy as np
from hookwire import aio

TOKENS = [[2, 5, 7, 9] * 8] * 6
LAYERS = "blocks.*.hook_out"


def results(model: hookwire.RemoteModel) -> bytes:
    """The bits of a run, of a cache, of one with a function, of text and of a parameter."""
    logits, cache = model.run_with_cache(TOKENS, names_filter=LAYERS)
    patched = model.run_with_hooks(TOKENS, fwd_hooks=[("blocks.1.hook_out", lambda x, hook: 2 * x)])
    tokens = model.to_tokens("When Mary and John went to the store")
    arrays = [model(TOKENS), logits, patched, tokens, model.W_U, *cache.values()]
    arrays += [tensor for _, tensor in model.stream(TOKENS, LAYERS)]
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


def forked(check: Callable[[], bool]) -> bool:
    """Whether a child that was forked finds what `check` looks for."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if check() else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return status == 0


def forks(model: hookwire.RemoteModel, want: bytes) -> None:
    for _ in range(30):
        assert forked(lambda: results(model) == want)
    assert results(model) == want


def forks_with_locks_held(model: hookwire.RemoteModel, want: bytes) -> None:
    """Forks while another thread holds every lock of the client."""
    tokenizer, weights, connection = model.tokenizer, model.weights, model._connection
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with (
            model._lock, model._weights_lock, model._standing_lock, tokenizer._lock, weights._lock,
            connection._lock,
        ):  # fmt: skip
            held.set()
            go.wait()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    held.wait()
    model._catalogue = model._weights = None
    assert forked(lambda: results(model) == want)
    go.set()
    thread.join()


def forks_in_a_stream(model: hookwire.RemoteModel, want: bytes) -> None:
    """A stream goes on in the parent, whatever its copy in the child comes to."""
    stream = model.stream(TOKENS, "**")
    first = next(stream)

    def refused() -> bool:
        nonlocal stream
        try:
            next(stream)
        except hookwire.ForkedError:
            del stream  # forgotten here, it must not be cancelled there
            return results(model) == want
        return False

    for _ in range(5):
        assert forked(refused)
    assert 1 + len(list(stream)) == len(list(model.stream(TOKENS, "**")))
    assert first.name == "embed.hook_in"


def forks_of_an_asynchronous_model(model: hookwire.RemoteModel, want: bytes) -> None:
    """An error rather than a call that waits for ever; a blocking model works in the child."""

    async def connect() -> aio.AsyncRemoteModel:
        return await aio.connect(model.server.address, tensors="numpy", quiet=True)

    async def run(twin: aio.AsyncRemoteModel) -> Any:
        return await twin(TOKENS)

    async def all_of_it() -> Any:
        async with await connect() as twin:
            return await twin(TOKENS)

    ids = asyncio.run(all_of_it())
    assert forked(lambda: np.array_equal(asyncio.run(all_of_it()), ids))
    twin = asyncio.run(connect())

    def refused() -> bool:
        errors = 0
        for call in (run(twin), connect()):
            try:
                asyncio.run(call)
            except hookwire.ForkedError:
                errors += 1
        return errors == 2 and results(model) == want

    assert forked(refused)


def workers(model: hookwire.RemoteModel, want: bytes, start: Any, count: int) -> None:
    context = multiprocessing.get_context(start)
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        assert list(pool.map(results, [model] * (2 * count))) == [want] * (2 * count)


class Prompts:
    """A data set of PyTorch that asks the model for each item."""

    def __init__(self, model: hookwire.RemoteModel) -> None:
        self.model = model

    def __len__(self) -> int:
        return 8

    def __getitem__(self, at: int) -> Any:
        return self.model([[2, 5 + at]])[0]


def data_loader(model: hookwire.RemoteModel, want: bytes, start: str) -> None:
    from torch.utils.data import DataLoader

    rows = DataLoader(
        Prompts(model),  # type: ignore[arg-type]
        num_workers=2,
        multiprocessing_context=start,
    )
    got = np.stack([row[0].numpy() for row in rows])
    assert np.array_equal(got, np.concatenate([model([[2, 5 + at]]) for at in range(8)]))
    assert results(model) == want


KINDS: dict[str, Callable[[hookwire.RemoteModel, bytes], None]] = {
    "forks": forks,
    "forks with locks held": forks_with_locks_held,
    "forks in a stream": forks_in_a_stream,
    "forks of an asynchronous model": forks_of_an_asynchronous_model,
    "forked workers": partial(workers, start="fork", count=4),
    "spawned workers": partial(workers, start="spawn", count=2),
    "a forked data loader": partial(data_loader, start="fork"),
}


def main() -> None:
    with hookwire.connect(sys.argv[1], tensors="numpy", quiet=True, cache_weights=False) as model:
        KINDS[sys.argv[2]](model, results(model))
    print("ok")


if __name__ == "__main__":
    main()
