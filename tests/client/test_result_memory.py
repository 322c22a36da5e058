"""The memory of a result is used again by the next one, once nobody holds it."""

from __future__ import annotations

import hookwire
import numpy as np
import pytest
import torch
from hookwire.answer import memory
from hookwire.answer.memory import Memory

FLOAT = np.dtype(np.float32)
SIZES = (8, 32, 64)
BYTES = 4 * 8 * 32 * 64


def address(array: np.ndarray) -> int:  # type: ignore[type-arg]
    return int(array.__array_interface__["data"][0])


def test_what_nobody_holds_is_used_again() -> None:
    source = Memory()
    first = source.empty(SIZES, FLOAT)
    place = address(first)
    del first
    again = source.empty((4, 64 * 64), FLOAT)
    assert address(again) == place
    assert again.shape == (4, 64 * 64)
    assert again.flags.writeable


@pytest.mark.parametrize(
    "hold",
    [
        lambda array: array,
        lambda array: array[3, 5:7],
        lambda array: array.reshape(-1).view(np.uint8).data,
        torch.from_numpy,
        lambda array: torch.from_numpy(array)[0].T,
        lambda array: torch.from_dlpack(array),
        lambda array: np.from_dlpack(torch.from_numpy(array)),
    ],
)
def test_what_somebody_holds_is_not(hold) -> None:  # type: ignore[no-untyped-def]
    source = Memory()
    array = source.zeros(SIZES, FLOAT)
    place = address(array)
    held = hold(array)
    del array
    others = [source.empty(SIZES, FLOAT) for _ in range(3)]
    assert place not in map(address, others)
    for other in others:
        other.fill(7)
    assert not np.asarray(held).any()
    del held
    assert place in {address(source.empty(SIZES, FLOAT)) for _ in range(5)}


def test_zeros_are_zeros_in_memory_that_was_written() -> None:
    source = Memory()
    written = source.empty(SIZES, FLOAT)
    place = address(written)
    written.fill(3)
    del written
    made = source.zeros(SIZES, FLOAT)
    assert address(made) == place
    assert not made.any()


def test_it_keeps_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_KEPT_BYTES", 4 * BYTES)
    source = Memory()
    held = [source.empty(SIZES, FLOAT) for _ in range(10)]
    assert len({address(array) for array in held}) == 10
    assert source._bytes <= 4 * BYTES
    source.empty((5 * BYTES,), np.dtype(np.uint8))
    assert source._bytes <= 4 * BYTES
    source.clear()
    assert source._bytes == 0
    assert not any(source._slots.values())


def test_results_stay_what_they_were(
    model: hookwire.RemoteModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of an earlier run of which only a part is held."""
    monkeypatch.setattr(memory, "_LEAST_BYTES", 1)
    first, second = np.arange(2, 18).reshape(2, 8), np.arange(12, 28).reshape(2, 8)
    want = {name: np.copy(array) for name, array in model.run_with_cache(first)[1].items()}
    _, cache = model.run_with_cache(first)
    held = cache["blocks.2.hook_out"][1]
    del cache
    for _ in range(3):
        model.run_with_cache(second)
    assert np.array_equal(held, want["blocks.2.hook_out"][1])
    for name, array in model.run_with_cache(first)[1].items():
        assert np.array_equal(array, want[name]), name
