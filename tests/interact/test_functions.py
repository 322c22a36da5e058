"""What functions see and change: the same bodies in process and over the socket."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from tests.interact.conftest import LENGTH, Pair, assert_same
from tests.parity.reference import NOT_THE_SAME_WRITE

# One of each kind: the stream, a branch, heads, keys, the MLP's inside, what a norm gives.
PLACES = (
    "embed.hook_out", "blocks.0.hook_in", "blocks.1.hook_out", "blocks.1.attn.q.hook_out",
    "blocks.0.attn.k.hook_out", "blocks.1.attn.o.hook_in", "blocks.1.attn.hook_out",
    "blocks.0.ln1.hook_out", "blocks.1.mlp.out.hook_in", "blocks.1.ln2_post.hook_out",
    "blocks.0.attn.q_norm.hook_out", "ln_final.hook_in", "unembed.hook_out",
)  # fmt: skip
# What one element more or less there changes is another branch's in TransformerLens, where it is
# edited in place.
BRANCHES = (
    "blocks.1.ln1.hook_in", "blocks.1.ln2.hook_in", "blocks.0.attn.q.hook_in",
    "blocks.0.mlp.gate.hook_in",
)  # fmt: skip


def edit_in_place(tensor: torch.Tensor, hook: Any) -> None:
    tensor[:, 1:] *= -1.5
    tensor[:, 0] += 0.25


def returns_another(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
    changed = tensor.clone()
    edit_in_place(changed, hook)
    return changed


@pytest.mark.parametrize("function", [edit_in_place, returns_another])
def test_a_change_has_the_effect_that_it_has_in_process(pair: Pair, function: Any) -> None:
    plain = pair.remote(pair.tokens())
    for name in PLACES:
        logits = pair.same(
            lambda model, name=name: model.run_with_hooks(
                pair.tokens(), fwd_hooks=[(name, function)]
            )
        )
        assert not torch.equal(logits, plain), name


@pytest.mark.parametrize("function", [edit_in_place, returns_another])
def test_in_bfloat16_too(bfloat16: Pair, function: Any) -> None:
    for name in PLACES:

        def body(model: Any, name: str = name) -> Any:
            dtypes = []

            def noted(tensor: torch.Tensor, hook: Any) -> Any:
                dtypes.append(tensor.dtype)
                return function(tensor, hook)

            return model.run_with_hooks(bfloat16.tokens(), fwd_hooks=[(name, noted)]), dtypes

        assert bfloat16.same(body)[1] == [torch.bfloat16]


def test_at_a_branch_the_effect_is_that_of_returning_the_tensor(pair: Pair) -> None:
    for name in BRANCHES:
        there = pair.local.run_with_hooks(pair.tokens(), fwd_hooks=[(name, returns_another)])
        for function in (returns_another, edit_in_place):
            here = pair.remote.run_with_hooks(pair.tokens(), fwd_hooks=[(name, function)])
            assert torch.equal(here, there), (name, function)


def test_every_hook_point_takes_a_function(pair: Pair) -> None:
    """Names that both have; where a write means the same, with a write."""
    plain, cache = pair.local.run_with_cache(pair.tokens())
    ours = {point.name for point in pair.remote.hook_points()}
    names = [name for name in cache if name in ours]
    assert len(names) > 60

    def shift(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
        return tensor + 0.125

    inert = []
    for name in names:
        if name.endswith(NOT_THE_SAME_WRITE) or not cache[name].is_floating_point():
            continue
        if not pair.remote.hook_dict[name].writable:
            continue
        hooks = [(name, shift)]
        logits = pair.same(
            lambda model, hooks=hooks: model.run_with_hooks(pair.tokens(), fwd_hooks=hooks)
        )
        if torch.equal(logits, plain):
            inert.append(name)
    # A norm takes a common shift of little effect out again, but not all of it.
    assert not inert


def test_functions_see_what_a_cache_holds(pair: Pair) -> None:
    """Also where nothing can be written: a function may look."""
    tokens = torch.cat([pair.tokens(3), pair.tokens(4)])
    _, cache = pair.remote.run_with_cache(tokens)
    seen: dict[str, torch.Tensor] = {}

    def look(tensor: torch.Tensor, hook: Any) -> None:
        seen[hook.name] = tensor.clone()

    logits = pair.remote.run_with_hooks(tokens, fwd_hooks=[(lambda name: True, look)])
    assert torch.equal(logits, pair.remote(tokens))
    assert list(seen) == pair.remote.hook_names(aliases=False)
    for name, tensor in seen.items():
        assert torch.equal(tensor, cache[name]), name


def test_several_at_one_point_run_in_order(pair: Pair) -> None:
    def body(model: Any) -> Any:
        calls = []

        def step(tensor: torch.Tensor, hook: Any, number: int) -> torch.Tensor | None:
            calls.append((number, float(tensor[0, 0, 0])))
            if number == 1:
                tensor[:, :, 0] = 3.0
                return None
            return tensor + number

        hooks = [("blocks.1.hook_resid_pre", partial(step, number=n)) for n in (0, 1, 2)]
        return model.run_with_hooks(pair.tokens(), fwd_hooks=hooks), calls

    _, calls = pair.same(body)
    assert [number for number, _ in calls] == [0, 1, 2]
    assert calls[2][1] == 3.0


def test_the_hook_tells_where(pair: Pair) -> None:
    def body(model: Any) -> Any:
        told = []

        def look(tensor: torch.Tensor, *, hook: Any) -> None:
            told.append((hook.name, hook.layer()))

        aliases = ["blocks.1.hook_resid_pre", "blocks.1.attn.hook_q", "blocks.0.mlp.hook_post"]
        model.run_with_hooks(pair.tokens(), fwd_hooks=[(name, look) for name in aliases])
        return told

    told = pair.same(body)
    assert told[0] == ("blocks.0.mlp.out.hook_in", 0)


def test_predicates(pair: Pair) -> None:
    def body(model: Any) -> Any:
        called = []

        def halve(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
            called.append(hook.name)
            return tensor * 0.5

        # A place that matches under two names is changed once.
        def streams(name: str) -> bool:
            return name.endswith(("hook_resid_post", "blocks.0.hook_out"))

        logits = model.run_with_hooks(pair.tokens(), fwd_hooks=[(streams, halve)])
        stopped = model.run_with_hooks(pair.tokens(), fwd_hooks=[(streams, halve)], stop_at_layer=2)
        return logits, stopped, called

    _, _, called = pair.same(body)
    assert len(called) == pair.remote.cfg.n_layers + 2


def test_stop_at_layer(pair: Pair) -> None:
    for stop in (1, 2, -1):
        pair.same(
            lambda model, stop=stop: model.run_with_hooks(
                pair.tokens(), fwd_hooks=[("blocks.0.hook_out", edit_in_place)], stop_at_layer=stop
            )
        )


def test_an_early_stop_returns_the_stream_whatever_the_return_type(pair: Pair) -> None:
    stop = 2

    def body(model: Any) -> Any:
        returned = []
        for return_type in ("logits", None):
            wanted: Any = {"stop_at_layer": stop, "return_type": return_type}
            hooks = [("blocks.0.hook_out", edit_in_place)]
            returned += [
                model(pair.tokens(), **wanted),
                model.run_with_hooks(pair.tokens(), fwd_hooks=hooks, **wanted),
                model.run_with_cache(pair.tokens(), names_filter="blocks.0.hook_in", **wanted)[0],
            ]
        return returned

    whole, edited, cached, *again = pair.same(body)
    assert_same(again, [whole, edited, cached])
    assert not torch.equal(whole, edited)
    # To be told the loss of what has none would be to be told something else.
    for return_type in ("loss", "both"):
        there = pair.local(pair.tokens(), return_type=return_type, stop_at_layer=stop)
        assert_same(whole, there)
        with pytest.raises(ValueError, match="needs the whole pass"):
            pair.remote(pair.tokens(), return_type=return_type, stop_at_layer=stop)


def test_a_stop_behind_the_last_layer_returns_what_enters_the_final_norm(e_type: Pair) -> None:
    n_layers = e_type.remote.cfg.n_layers
    there = e_type.local(e_type.tokens(), stop_at_layer=n_layers)
    assert_same(there, e_type.local(e_type.tokens()))
    _, cache = e_type.local.run_with_cache(e_type.tokens(), names_filter="ln_final.hook_in")
    here = e_type.remote(e_type.tokens(), stop_at_layer=n_layers)
    assert_same(here, cache["ln_final.hook_in"])


def test_a_cache_sees_what_hooks_around_it_have_made(pair: Pair) -> None:
    def body(model: Any) -> Any:
        # TransformerLens has no batch axis in some of the experts'.
        def wanted(name: str) -> bool:
            return name.endswith(("n.hook_out", "mlp.hook_out", "ln2.hook_out", ".hook_resid_post"))

        with model.hooks(fwd_hooks=[("blocks.0.hook_out", edit_in_place)]):
            logits, cache = model.run_with_cache(pair.tokens(), names_filter=wanted)
        return logits, {name: cache[name] for name in sorted(cache)}

    _, cache = pair.same(body)
    assert len(cache) > 10


def test_nested_blocks_apply_from_the_outside_in(pair: Pair) -> None:
    def body(model: Any) -> Any:
        order = []

        def note(tensor: torch.Tensor, hook: Any, which: str) -> torch.Tensor:
            order.append(which)
            return tensor * 2 + len(order)

        def at(which: str) -> list[Any]:
            return [("blocks.1.hook_in", partial(note, which=which))]

        with model.hooks(fwd_hooks=at("outer")):
            with model.hooks(fwd_hooks=at("inner")):
                both = model.run_with_hooks(pair.tokens(), fwd_hooks=at("run"))
            one = model(pair.tokens())
        return both, one, model(pair.tokens()), order

    *_, order = pair.same(body)
    assert order == ["outer", "inner", "run", "outer"]


def test_remove_batch_dim(pair: Pair) -> None:
    def body(model: Any) -> Any:
        shapes = []

        def in_place(tensor: torch.Tensor, hook: Any) -> None:
            shapes.append(tuple(tensor.shape))
            tensor[2] = 0

        def returned(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
            return tensor * 2

        hooks = [("blocks.0.hook_out", in_place), ("blocks.1.attn.hook_z", returned)]
        return model.run_with_hooks(pair.tokens(), fwd_hooks=hooks, remove_batch_dim=True), shapes

    _, shapes = pair.same(body)
    assert shapes == [(LENGTH, pair.remote.cfg.d_model)]


def test_an_exception_comes_out_as_it_is_and_the_next_run_works(pair: Pair) -> None:
    def body(model: Any) -> Any:
        def fail(tensor: torch.Tensor, hook: Any) -> None:
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine") as caught:
            model.run_with_hooks(pair.tokens(), fwd_hooks=[("blocks.1.hook_in", fail)])
        frames = [entry.name for entry in caught.traceback]
        return frames[-1], model(pair.tokens())

    name, _ = pair.same(body)
    assert name == "fail"
