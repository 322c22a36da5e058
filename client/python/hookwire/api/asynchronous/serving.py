"""A model on a server that this process starts and ends."""

from __future__ import annotations

import asyncio  # asynchronous only
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from hookwire import errors
from hookwire.api.asynchronous.model import AsyncRemoteModel, connect
from hookwire.api.daemon import Daemon
from hookwire.errors import arguments
from hookwire.facts import dtypes
from hookwire.wire import peer


@arguments.checked("hookwire.aio.serve")
@asynccontextmanager
async def serve(
    checkpoint: str | os.PathLike[str],
    *,
    device: str | None = None,
    dtype: str | None = None,
    numerics: str | None = None,
    flags: Sequence[str] = (),
    daemon: str | os.PathLike[str] | None = None,
    timeout: float = 600.0,
    tensors: dtypes.Tensors = "auto",
    quiet: bool = False,
    cache_weights: bool | str | os.PathLike[str] = True,
    shared_memory: bool = True,
) -> AsyncIterator[AsyncRemoteModel]:
    """Starts the server `hookwired` on this machine, and ends it at the end of the `with` block.

        async with hookwire.aio.serve("toy/checkpoint") as model:
            ...

    The server listens on a free port of the loopback interface. It ends with the block, also if the
    block raises an error. If this process is killed, the server goes on running.

    Args:
        checkpoint: a directory as `save_pretrained` writes it.
        device: where the server computes: "cpu", "cuda", "cuda:1", or several with commas. Default:
            the server's own default, "cpu".
        dtype: what it computes in: "float32", "bfloat16", or "auto", the checkpoint's own. Default:
            "auto".
        numerics: "fast", "invariant" or "reference". Default: "fast".
        flags: more flags of `hookwired`, such as ["--threads", "2"]; `hookwired --help` lists them.
        daemon: the program. Default: the one that the environment variable HOOKWIRED names, else
            the `hookwired` beside this Python, where pip installs it, else the one on the PATH.
        timeout: how many seconds the server may take until it serves.
        tensors: as in `connect`.
        quiet: as in `connect`.
        cache_weights: as in `connect`.
        shared_memory: as in `connect`.

    Yields:
        The model, connected.

    Raises:
        DaemonError: the program is missing, does not start, or ends by itself within the block. The
            message has the last lines that it wrote.
    """
    peer.seconds(timeout)
    named = {"--device": device, "--dtype": dtype, "--numerics": numerics}
    given = [part for flag, value in named.items() if value is not None for part in (flag, value)]
    started = Daemon(checkpoint, [*given, *flags], daemon)
    try:
        address = await asyncio.to_thread(started.address, timeout)  # asynchronous only
        # blocking: address = started.address(timeout)
        model = await connect(
            address,
            tensors=tensors,
            quiet=quiet,
            cache_weights=cache_weights,
            shared_memory=shared_memory,
        )
        async with model:
            try:
                yield model
            except errors.UnavailableError:
                started.check()
                raise
    finally:
        await asyncio.to_thread(started.close)  # asynchronous only
        # blocking: started.close()
