"""The results of a run, each as soon as it is complete."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any, NoReturn

from hookwire import errors
from hookwire.answer.entries import Entry
from hookwire.answer.run import Activation, Run
from hookwire.wire.asynchronous import AsyncConnection

if TYPE_CHECKING:
    from typing_extensions import Self


async def results(connection: AsyncConnection, run: Run) -> AsyncGenerator[Entry, None]:
    """Yields each result as soon as it is complete. Calls functions when their tensors come."""
    made, interaction = run.request, None
    if made.interacts:
        interaction = connection.interact(made, run.timeout, run.stage)
    events = (
        interaction.events()
        if interaction
        else connection.run(made.message, run.timeout, run.stage)
    )
    try:
        with made.blaming():
            async for event in events:
                for entry in run.feed(event):
                    if entry.callback is None:
                        yield entry
                        continue
                    assert interaction is not None
                    visit = run.visit(entry)
                    for message in visit.answer(await visit.call_and_wait()):
                        await interaction.send(message)
        run.finish()
    finally:
        await events.aclose()
        run.close()


class _Begun:
    """The run of a stream, which an asynchronous one prepares when it is first read."""

    def __init__(self, prepare: Callable[[], Coroutine[Any, Any, Run]]) -> None:
        self.prepare = prepare  # asynchronous only
        self.run: Run | None = None  # asynchronous only
        # blocking: self.run: Run | None = prepare()


async def _activations(
    connection: AsyncConnection, begun: _Begun
) -> AsyncGenerator[Activation, None]:
    begun.run = await begun.prepare()  # asynchronous only
    run = begun.run
    assert run is not None
    entries = results(connection, run)
    try:
        async for entry in entries:
            yield run.activation(entry)
            # It belongs to the user now.
            entry.array = None
    finally:
        await entries.aclose()


class AsyncResultStream:
    """The tensors of a run, each as soon as it is complete: before the run ends.

    An iterator over `Activation`s, each of which unpacks to `name, tensor`. The run is cancelled if
    you end the iterator early: with `aclose()`, at the end of its `async with` block, or when the
    last reference to it goes. The result is complete only when the iterator has ended without an
    error.
    """

    def __init__(
        self, connection: AsyncConnection, prepare: Callable[[], Coroutine[Any, Any, Run]]
    ) -> None:
        self._begun = _Begun(prepare)
        self._process = os.getpid()
        # No method of this object: a stream that is forgotten must not be kept by its generator.
        self._iterator = _activations(connection, self._begun)

    def __aiter__(self) -> AsyncIterator[Activation]:
        return self

    def __iter__(self) -> NoReturn:  # asynchronous only
        """An asynchronous stream cannot be read with a plain `for`.

        Raises:
            ArgumentTypeError: always; the message says how to read it.
        """
        raise errors.ArgumentTypeError(
            "the stream of an asynchronous model is read with async for: "
            "async for name, tensor in model.stream(…)"
        )

    async def __anext__(self) -> Activation:
        if os.getpid() != self._process:
            raise errors.ForkedError(
                "this stream was started in the parent process, and no other process can read it: "
                "start one here with model.stream(…)"
            )
        return await self._iterator.__anext__()

    def __reduce__(self) -> Any:
        raise errors.ArgumentTypeError(
            "a stream belongs to a run that is in progress, and cannot be pickled or copied: "
            "pickle its tensors"
        )

    @property
    def _run(self) -> Run:
        assert self._begun.run is not None
        return self._begun.run

    @property
    def receipt(self) -> Any:
        """The `Receipt`: what ran, where, on which weights. None until the run has ended."""
        run = self._begun.run
        return None if run is None else run.assembly.receipt

    @property
    def run_id(self) -> str:
        """The server's name for the run; empty until the server has accepted it."""
        run = self._begun.run
        return "" if run is None else run.assembly.run_id

    async def aclose(self) -> None:
        """Cancels the rest of the run. Closing twice has no effect."""
        await self._iterator.aclose()
        # blocking: self._run.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
