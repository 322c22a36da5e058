"""A daemon on two devices that are not the CPU serves what one on the CPU serves."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from typing import Any

import hookwire
import numpy as np
import pytest
from hookwire import ops

from tests.fault.daemon import daemon
from tests.fault.footprint import Footprint, assert_nothing_leaks, without_clients

DEVICES = "fake:0,fake:1"
pytestmark = pytest.mark.filterwarnings("ignore:the result has", "ignore:not all values")

EXACT = ("--numerics", "reference", "--digest-cache", "")


@pytest.fixture(scope="module")
def here() -> Iterator[hookwire.RemoteModel]:
    with daemon(*EXACT) as made, hookwire.connect(made.address, quiet=True) as model:
        yield model


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with daemon(*EXACT, device=DEVICES) as made:
        yield made.address


def everything(model: hookwire.RemoteModel, tokens: Any, **more: Any) -> dict[str, np.ndarray]:
    logits, cache = model.run_with_cache(tokens, names_filter=None, **more)
    return {"logits": np.asarray(logits)} | {name: np.asarray(cache[name]) for name in cache}


def assert_same(here: dict[str, np.ndarray], there: dict[str, np.ndarray]) -> None:
    assert list(here) == list(there)
    wrong = [name for name in here if not np.array_equal(here[name], there[name], equal_nan=True)]
    assert not wrong, wrong


def tokens(length: int = 20, rows: int = 3) -> list[list[int]]:
    return [[2, *((5 * row + 3 * at) % 50 + 4 for at in range(length - 1 - row))]
            for row in range(rows)]  # fmt: skip


@pytest.mark.parametrize("shared_memory", [True, False])
def test_every_hook_point(here: hookwire.RemoteModel, address: str, shared_memory: bool) -> None:
    with hookwire.connect(address, quiet=True, shared_memory=shared_memory) as there:
        assert_same(everything(here, tokens()), everything(there, tokens()))


def test_it_says_where_it_computes(address: str) -> None:
    with hookwire.connect(address, quiet=True) as there:
        _, cache = there.run_with_cache(tokens(), names_filter="hook_embed")
        assert cache.receipt.device == DEVICES


def test_edits_and_functions(here: hookwire.RemoteModel, address: str) -> None:
    def halve(value: Any, hook: Any) -> Any:
        return value * 0.5

    hooks = [
        ("blocks.0.hook_resid_mid", ops.add(1.0, pos=-1)),
        ("blocks.1.attn.hook_pattern", halve),
        ("blocks.4.hook_out", ops.copy(from_row=1, row=0, pos=3)),
        ("blocks.5.mlp.hook_out", halve),
    ]
    with hookwire.connect(address, quiet=True) as there:
        expected = everything(here, tokens(), fwd_hooks=hooks)
        assert_same(expected, everything(there, tokens(), fwd_hooks=hooks))
    assert not np.array_equal(expected["logits"], everything(here, tokens())["logits"])


def test_non_finite_values_are_counted(here: hookwire.RemoteModel, address: str) -> None:
    hooks = [("blocks.2.hook_out", ops.set(float("nan"), pos=-2))]
    with hookwire.connect(address, quiet=True) as there:
        counts = []
        for model in (here, there):
            _, cache = model.run_with_cache(
                tokens(), names_filter=["blocks.*.hook_out", "blocks.*.attn.hook_attn_scores"],
                fwd_hooks=hooks, allow_non_finite=True,
            )  # fmt: skip
            counts.append(cache.receipt.non_finite)
        assert counts[0]
        assert counts[0] == counts[1]


def test_results_that_outgrow_the_buffer(here: hookwire.RemoteModel) -> None:
    with (
        daemon(*EXACT, "--result-buffer-mb", "1", device=DEVICES) as made,
        hookwire.connect(made.address, quiet=True, shared_memory=False) as there,
    ):
        assert_same(everything(here, tokens(100, 6)), everything(there, tokens(100, 6)))


def test_many_clients_at_once(here: hookwire.RemoteModel) -> None:
    lengths = [5, 17, 40, 90]
    expected = {length: everything(here, tokens(length)) for length in lengths}
    with daemon(*EXACT, device=DEVICES) as made:
        idle = without_clients(made, Footprint.of(made.pid))

        def ask(number: int) -> None:
            with hookwire.connect(made.address, quiet=True) as there:
                for _ in range(3):
                    length = lengths[number % len(lengths)]
                    assert_same(expected[length], everything(there, tokens(length)))

        with concurrent.futures.ThreadPoolExecutor(6) as clients:
            list(clients.map(ask, range(6)))
            idle = without_clients(made, idle)
            list(clients.map(ask, range(6)))
        assert_nothing_leaks(made, idle, [])


def test_a_device_without_memory_fails_the_run_and_serves_on(here: hookwire.RemoteModel) -> None:
    arguments = (*EXACT[2:], "--max-activation-mb", "0", "--max-batch-tokens", "65536")
    with (
        daemon(*arguments, device="fake:0", environment={"HOOKWIRE_FAKE_DEVICE_MB": "12"}) as made,
        hookwire.connect(made.address, quiet=True) as there,
    ):
        with pytest.raises(hookwire.HookwireError, match="ran out of memory") as raised:
            there(tokens(120, 200))
        assert raised.value.reason == "OUT_OF_MEMORY"
        assert there(tokens(8)).shape == here(tokens(8)).shape
