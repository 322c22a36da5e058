"""Thousands of prompts, one result for each."""

from __future__ import annotations

import asyncio  # asynchronous only
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from hookwire import errors
from hookwire.answer.run import Run
from hookwire.api import mapping
from hookwire.api.calls import Map
from hookwire.api.standing import HooksInForce

if TYPE_CHECKING:
    from hookwire.api.asynchronous.model import AsyncRemoteModel


async def mapped(
    model: AsyncRemoteModel, call: Map, standing: HooksInForce
) -> AsyncGenerator[tuple[Any, Any], None]:
    """The results of a map, in the order of its prompts."""
    size = mapping.batch_size(call, standing)
    await model._fetch_hooks()  # asynchronous only
    await model._fetch_tokenizer()  # asynchronous only
    with mapping.Bar(call) as bar:
        for window in mapping.windows(model, call):
            done: dict[int, Any] = {}
            for batch in mapping.batches(window, size):
                run = await _run(model, call, batch, standing)
                one = mapping.run_of(call, batch[:1])
                for row, prompt in enumerate(batch):
                    done[prompt.number] = one.result(model, run.row(row))
                bar.update(len(batch))
            for prompt in window:
                yield done.pop(prompt.number)


async def _run(
    model: AsyncRemoteModel, call: Map, batch: list[mapping.Prompt], standing: HooksInForce
) -> Run:
    """The run of some prompts. It waits while the server has no room for it.

    Raises:
        HookwireError: as the run does; it says which prompt is to blame.
    """
    asked, pause = mapping.run_of(call, batch), mapping.FIRST_PAUSE
    deadline = time.monotonic() + call.queue_timeout
    while True:
        try:
            return await model._run_of(asked, standing)
        except mapping.BUSY:
            if time.monotonic() + pause > deadline:
                raise
        except errors.HookwireError as error:
            await _blame(model, call, batch, standing, error)
            raise
        await asyncio.sleep(pause)  # asynchronous only
        # blocking: time.sleep(pause)
        pause = min(2 * pause, mapping.LONGEST_PAUSE)


async def _blame(
    model: AsyncRemoteModel,
    call: Map,
    batch: list[mapping.Prompt],
    standing: HooksInForce,
    error: errors.HookwireError,
) -> None:
    """Finds the prompt that is to blame for an error of a run, by dry runs.

    Raises:
        HookwireError: that prompt's own error.
    """
    if isinstance(error, errors.UnavailableError):
        return
    for prompt in batch:
        try:
            await model._plan_of(mapping.run_of(call, [prompt]), standing)
        except errors.HookwireError as own:
            raise mapping.blamed(own, prompt.number, prompt.given) from error
    if len(batch) == 1:
        mapping.blamed(error, batch[0].number, batch[0].given)
