"""Many prompts: each gets what it would get alone, in order."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import hookwire
import numpy as np
import pytest
from hookwire import aio, ops

from tests.client.fake_server import FakeServer, Refused

PROMPTS = [[2, 5, 7], [3, 4], [9, 8, 7], [1], [6, 5], [4, 4, 4], [2, 3], [7, 7, 7, 7]] * 3


def same(got: list[tuple[Any, Any]], model: hookwire.RemoteModel, **options: Any) -> None:
    """Compares with runs of each prompt alone."""
    assert len(got) == len(PROMPTS)
    for prompt, (output, cache) in zip(PROMPTS, got, strict=True):
        alone, theirs = model.run_with_cache(prompt, **options)
        np.testing.assert_array_equal(output, alone)
        assert list(cache) == list(theirs)
        for name in theirs:
            np.testing.assert_array_equal(cache[name], theirs[name], err_msg=name)
        np.testing.assert_array_equal(cache.mask, theirs.mask)
        assert cache.has_batch_dim == theirs.has_batch_dim


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"names_filter": "blocks.*.hook_in", "logits_pos": -1, "pos_slice": -1},
        {"return_type": "loss", "remove_batch_dim": True},
        {"return_type": None, "stop_at_layer": 2},
        {"fwd_hooks": [("blocks.1.hook_in", ops.zero(pos=-1))], "dtype": "float16"},
    ],
    ids=lambda options: " ".join(options) or "plain",
)
@pytest.mark.filterwarnings("ignore::hookwire.NothingToPredictWarning")
def test_each_prompt_gets_what_it_would_get_alone(
    model: hookwire.RemoteModel, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    if "loss" in options.values():  # a single token has none
        monkeypatch.setattr(f"{__name__}.PROMPTS", [one for one in PROMPTS if len(one) > 1])
    same(list(model.map(PROMPTS, batch_size=4, **options)), model, **options)


async def test_an_asynchronous_model_maps_too(
    server: FakeServer, model: hookwire.RemoteModel
) -> None:
    async with await aio.connect(server.address, tensors="numpy", quiet=True) as twin:
        got = [pair async for pair in twin.map(PROMPTS, batch_size=4)]
    same(got, model)


def test_prompts_of_one_length_share_a_run(server: FakeServer, model: hookwire.RemoteModel) -> None:
    list(model.map(PROMPTS, "blocks.0.hook_in", batch_size=6))
    lengths = [[len(row.token_ids) for row in spec.sequences] for spec in server.specs]
    assert all(len(set(run)) == 1 and len(run) <= 6 for run in lengths)
    assert sum(map(len, lengths)) == len(PROMPTS)
    assert len(lengths) == 6  # 9 of three tokens, 9 of two, 3 of one, 3 of four


def test_texts_and_generators(server: FakeServer, model: hookwire.RemoteModel) -> None:
    read = []

    def endless() -> Iterator[str]:
        for number in itertools.count():
            read.append(number)
            yield "a small step"

    results = model.map(endless(), "blocks.0.hook_in", batch_size=2)
    alone, _ = model.run_with_cache("a small step")
    for output, _ in itertools.islice(results, 5):
        np.testing.assert_array_equal(output, alone)
    assert len(read) == 16


@pytest.mark.parametrize(
    "change",
    [
        ops.zero(row=0),
        ops.copy(from_row=0, row=0),
        ops.set(np.zeros((1, 1, 4), np.float32)),
    ],
    ids=["row", "copy", "value"],
)
def test_what_may_differ_from_row_to_row_sees_each_prompt_alone(
    server: FakeServer, model: hookwire.RemoteModel, change: Any
) -> None:
    got = list(model.map(PROMPTS, batch_size=4, fwd_hooks=[("blocks.1.hook_in", change)]))
    assert all(len(spec.sequences) == 1 for spec in server.specs)
    same(got, model, fwd_hooks=[("blocks.1.hook_in", change)])


def test_standing_hooks_are_those_of_the_call(
    server: FakeServer, model: hookwire.RemoteModel
) -> None:
    with model.hooks([("blocks.1.hook_in", ops.zero())]):
        results = model.map(PROMPTS[:2])
        (expected, _), _ = model.run_with_cache(PROMPTS[0]), None
    np.testing.assert_array_equal(next(iter(results))[0], expected)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ([], hookwire.HookwireError),
        ([3, 99], hookwire.TokenOutOfRangeError),
        ([1] * 25, hookwire.SequenceTooLongError),
        ([[1, 2], [3, 4]], hookwire.ArgumentError),
        (object(), hookwire.HookwireError),
    ],
    ids=["empty", "token", "long", "rows", "object"],
)
def test_a_bad_prompt_is_named(model: hookwire.RemoteModel, bad: Any, error: type) -> None:
    prompts = [[1, 2], [3, 4], bad, [5, 6]]
    with pytest.raises(error, match=r"\(prompt 2: ") as caught:
        list(model.map(prompts, "blocks.0.hook_in"))
    assert caught.value.metadata["prompt"] == "2"


def test_a_full_queue_is_waited_for(
    server: FakeServer, model: hookwire.RemoteModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.refusal = Refused("QUEUE_FULL", "too many runs are waiting")
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 8:
            server.refusal = None

    monkeypatch.setattr("hookwire.api.blocking.mapping.time.sleep", sleep)
    got = list(model.map(PROMPTS[:2]))
    assert len(got) == 2
    assert slept == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_a_queue_that_stays_full_is_an_error(
    server: FakeServer, model: hookwire.RemoteModel
) -> None:
    server.refusal = Refused("QUEUE_FULL", "too many runs are waiting")
    with pytest.raises(hookwire.QueueFullError):
        list(model.map(PROMPTS, queue_timeout=0.1))


@pytest.mark.parametrize(
    ("prompts", "options", "said"),
    [
        ("one text", {}, "prompts must be a list of prompts, not 'one text'"),
        (3, {}, "prompts must be a list of prompts"),
        ([[1]], {"batch_size": 0}, "batch_size must be at least 1"),
        ([[1]], {"attention_mask": [[1]]}, "attention_mask"),
    ],
)
def test_wrong_calls(
    model: hookwire.RemoteModel, prompts: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(hookwire.HookwireError, match=said):
        model.map(prompts, **options)


def test_a_bar_counts_prompts(
    model: hookwire.RemoteModel, capsys: pytest.CaptureFixture[str]
) -> None:
    list(model.map(PROMPTS, "blocks.0.hook_in", progress=True))
    shown = capsys.readouterr().err
    assert re.search(rf"{len(PROMPTS)}/{len(PROMPTS)} .*prompt", shown)
    list(model.map(PROMPTS, "blocks.0.hook_in"))
    assert capsys.readouterr().err == ""
