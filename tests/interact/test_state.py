"""What stays from run to run: hooks that were added, and what functions keep in `hook.ctx`."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from tests.interact.conftest import Pair

PLACE = "blocks.1.hook_resid_pre"


def count(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
    hook.ctx["calls"] = hook.ctx.get("calls", 0) + 1
    return tensor + hook.ctx["calls"]


def twice(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
    return tensor * 2


def context(model: Any, name: str = "blocks.1.hook_in") -> dict[str, Any]:
    """What functions keep at a hook point."""
    found: dict[str, Any] = {}

    def look(tensor: torch.Tensor, hook: Any) -> None:
        found.update(hook.ctx)

    model.run_with_hooks(torch.tensor([[2, 5, 6]]), fwd_hooks=[(name, look)])
    return found


def test_an_added_hook_stays_until_it_is_reset(pair: Pair) -> None:
    def body(model: Any) -> Any:
        plain = model(pair.tokens())
        model.add_hook(PLACE, twice)
        model.add_hook(lambda name: name.endswith("attn.hook_z"), twice)
        added = model(pair.tokens())
        both = model.run_with_hooks(pair.tokens(), fwd_hooks=[(PLACE, lambda x, hook: x + 1)])
        model.reset_hooks()
        return plain, added, both, model(pair.tokens())

    plain, added, both, after = pair.same(body)
    assert torch.equal(plain, after)
    assert not torch.equal(plain, added)
    assert not torch.equal(added, both)


def test_a_permanent_hook_stays_through_a_reset(pair: Pair) -> None:
    def body(model: Any) -> Any:
        model.add_perma_hook(PLACE, twice)
        model.add_hook(PLACE, count)
        both = model(pair.tokens())
        model.reset_hooks()
        one = model(pair.tokens())
        model.reset_hooks(including_permanent=True)
        return both, one, model(pair.tokens())

    both, one, none = pair.same(body)
    assert not torch.equal(both, one)
    assert not torch.equal(one, none)


def test_reset_hooks_end_lets_the_hooks_of_a_run_stay(pair: Pair) -> None:
    def body(model: Any) -> Any:
        hooks = [(PLACE, twice)]
        first = model.run_with_hooks(pair.tokens(), fwd_hooks=hooks, reset_hooks_end=False)
        second = model(pair.tokens())
        with model.hooks(fwd_hooks=[("blocks.0.hook_out", twice)], reset_hooks_end=False):
            pass
        third = model(pair.tokens())
        model.reset_hooks()
        return first, second, third, model(pair.tokens())

    first, second, third, last = pair.same(body)
    assert torch.equal(first, second)
    assert not torch.equal(second, third)
    assert not torch.equal(first, last)


def test_hooks_apply_in_the_order_in_which_they_were_added(pair: Pair) -> None:
    """Whether one by one or in a block; and what is added in a block outlives it."""

    def body(model: Any) -> Any:
        order: list[str] = []

        def at(which: str) -> tuple[str, Any]:
            def note(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
                order.append(which)
                return tensor * 2 + len(which)

            return PLACE, note

        def run() -> tuple[torch.Tensor, list[str]]:
            order.clear()
            logits = model.run_with_hooks(pair.tokens(), fwd_hooks=[at("run")])
            return logits, list(order)

        told = []
        model.add_hook(*at("first"))
        with model.hooks(fwd_hooks=[at("block")]):
            model.add_hook(*at("inside"))
            model.add_perma_hook(*at("permanent"))
            with model.hooks(fwd_hooks=[at("inner")], reset_hooks_end=False):
                model.add_hook(*at("innermost"))
                told.append(run())
            told.append(run())
        told.append(run())
        model.reset_hooks()
        told.append(run())
        return told

    orders = [order for _, order in pair.same(body)]
    assert orders == [
        ["first", "block", "inside", "permanent", "inner", "innermost", "run"],
        ["first", "block", "inside", "permanent", "inner", "innermost", "run"],
        ["first", "inside", "permanent", "inner", "innermost", "run"],
        ["permanent", "run"],
    ]


def test_a_reset_in_a_block_removes_its_hooks_too(pair: Pair) -> None:
    def body(model: Any) -> Any:
        hooks = [("blocks.0.hook_out", twice)]
        with model.hooks(fwd_hooks=hooks), model.hooks(fwd_hooks=hooks, reset_hooks_end=False):
            changed = model(pair.tokens())
            model.reset_hooks()
            inside = model(pair.tokens())
            model.add_hook("blocks.0.hook_out", twice)
        after = model(pair.tokens())
        model.reset_hooks()
        return changed, inside, after, model(pair.tokens())

    changed, inside, after, plain = pair.same(body)
    assert torch.equal(inside, plain)
    assert not torch.equal(after, plain)
    assert not torch.equal(after, changed)


def test_a_context_is_kept_until_it_is_cleared(pair: Pair) -> None:
    def body(model: Any) -> Any:
        told = []
        hooks = [(PLACE, count)]
        for _ in range(2):
            model.run_with_hooks(pair.tokens(), fwd_hooks=hooks)
            told.append(context(model))
        model.run_with_hooks(pair.tokens(), fwd_hooks=hooks, clear_contexts=True)
        told.append(context(model))
        model.run_with_hooks(pair.tokens(), fwd_hooks=hooks)
        model.run_with_hooks(
            pair.tokens(), fwd_hooks=[("blocks.0.hook_in", count)], clear_contexts=True
        )
        told.append(context(model))  # another place was cleared
        model.clear_contexts()
        told.append(context(model))
        model.run_with_hooks(pair.tokens(), fwd_hooks=hooks)
        model.reset_hooks(clear_contexts=False)
        told.append(context(model))
        model.reset_hooks()
        told.append(context(model))
        return told

    told = pair.same(body)
    assert [one.get("calls") for one in told] == [1, 2, None, 1, None, 1, None]


def test_a_run_that_lets_its_hooks_stay_may_clear_their_contexts(pair: Pair) -> None:
    def body(model: Any) -> Any:
        model.run_with_hooks(
            pair.tokens(), fwd_hooks=[(PLACE, count)], reset_hooks_end=False, clear_contexts=True
        )
        cleared = model(pair.tokens())  # counts from one again
        model.run_with_cache(pair.tokens(), names_filter="blocks.0.hook_in", clear_contexts=True)
        kept = model(pair.tokens())
        model.run_with_cache(pair.tokens(), names_filter=PLACE, clear_contexts=True)
        return cleared, kept, model(pair.tokens())

    cleared, kept, again = pair.same(body)
    assert torch.equal(cleared, again)
    assert not torch.equal(cleared, kept)


def test_a_name_that_is_not_there_is_refused(pair: Pair) -> None:
    def body(model: Any) -> Any:
        for name in ("blocks.1.hook_resid_prae", "blocks.99.hook_in"):
            with pytest.raises((KeyError, AttributeError)):
                model.add_hook(name, twice)
            with pytest.raises(KeyError):
                model.run_with_hooks(pair.tokens(), fwd_hooks=[(name, twice)])
        return model(pair.tokens())

    pair.same(body)


def in_a_pool(function: Any, *items: Any) -> list[Any]:
    """What a function gives for each item, on other threads, computed as on this one."""

    def call(item: Any) -> Any:
        torch.set_num_threads(1)
        with torch.no_grad():
            return function(item)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(call, items))


def test_the_hooks_of_a_block_apply_on_every_thread(pair: Pair) -> None:
    prompts = [pair.tokens(3), pair.tokens(4), pair.tokens(5)]

    def body(model: Any) -> Any:
        plain = [model(prompt) for prompt in prompts]
        with model.hooks(fwd_hooks=[(PLACE, twice)]):
            here = [model(prompt) for prompt in prompts]
            there = in_a_pool(model, *prompts)
        return plain, here, there, in_a_pool(model, *prompts)

    plain, here, there, after = pair.same(body)
    for number in range(len(prompts)):
        assert torch.equal(there[number], here[number])
        assert torch.equal(after[number], plain[number])
        assert not torch.equal(here[number], plain[number])


def test_blocks_of_two_threads_see_each_other_and_end_each_by_itself(e_type: Pair) -> None:
    """In whichever order: the block that was entered first ends first here."""

    def body(model: Any) -> Any:
        order: list[str] = []
        ends = {which: (threading.Event(), threading.Event()) for which in ("one", "two")}

        def at(which: str) -> Any:
            def note(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
                order.append(which)
                return tensor * 2 + len(which)

            return PLACE, note

        def block(which: str) -> None:
            entered, end = ends[which]
            with model.hooks(fwd_hooks=[at(which)]):
                entered.set()
                end.wait(60)

        def run() -> Any:
            order.clear()
            return model.run_with_hooks(e_type.tokens(), fwd_hooks=[at("run")]), list(order)

        threads = {which: threading.Thread(target=block, args=(which,)) for which in ends}
        told = []
        for which, thread in threads.items():
            thread.start()
            ends[which][0].wait(60)
            told.append(run())
        for which, thread in threads.items():
            ends[which][1].set()
            thread.join(60)
            told.append(run())
        return told

    orders = [order for _, order in e_type.same(body)]
    assert orders == [["one", "run"], ["one", "two", "run"], ["two", "run"], ["run"]]


def test_the_hooks_of_a_run_are_its_own(e_type: Pair) -> None:
    """While one run with hooks waits in its function, another thread's run has none of them."""
    waiting, others_done = threading.Event(), threading.Event()
    calls = []

    def wait(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
        calls.append(hook.name)
        waiting.set()
        others_done.wait(60)
        return tensor * 2

    model, tokens = e_type.remote, e_type.tokens()
    plain = model(tokens)
    with ThreadPoolExecutor(1) as pool:
        changed = pool.submit(model.run_with_hooks, tokens, [(PLACE, wait)])
        waiting.wait(60)
        model.add_hook("blocks.0.hook_out", twice)  # too late for the run that waits
        here = model(tokens)
        model.reset_hooks()
        assert torch.equal(model(tokens), plain)
        others_done.set()
        assert torch.equal(changed.result(60), model.run_with_hooks(tokens, [(PLACE, twice)]))
    assert torch.equal(here, model.run_with_hooks(tokens, [("blocks.0.hook_out", twice)]))
    assert calls == ["blocks.1.hook_in"]


def test_a_block_that_fails_takes_its_hooks_along(pair: Pair) -> None:
    def body(model: Any) -> Any:
        def fail() -> None:
            with model.hooks(fwd_hooks=[(PLACE, twice)]):
                model.add_hook("blocks.0.hook_out", twice)
                raise LookupError

        with pytest.raises(LookupError):
            fail()
        left = model(pair.tokens())
        model.reset_hooks()
        return left, model(pair.tokens())

    left, plain = pair.same(body)
    assert not torch.equal(left, plain)
    want = pair.remote.run_with_hooks(pair.tokens(), [("blocks.0.hook_out", twice)])
    assert torch.equal(left, want)


def test_many_threads_add_and_remove_without_losing_any(e_type: Pair) -> None:
    model = e_type.remote

    def many(number: int) -> None:
        for _ in range(200):
            with model.hooks(fwd_hooks=[(PLACE, twice)] * 3):
                assert len(model._hooks_in_force()) >= 3
        model.add_hook(PLACE, twice)

    in_a_pool(many, *range(8))
    assert len(model._hooks_in_force()) == 8
