"""Functions over the socket, where TransformerLens has nothing to compare with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import hookwire
import numpy as np
import pytest
import torch
from hookwire import ops

from tests.interact.conftest import Pair, assert_same
from tests.parity.checkpoints import CHECKPOINTS, Checkpoint, write
from tests.parity.daemon import hookwired

STREAM = "blocks.1.hook_in"
MESSAGE = 4 << 20  # the server takes no larger one


def double(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
    return tensor * 2


def test_functions_and_ops_at_one_point_apply_in_order(pair: Pair) -> None:
    values = []

    def look(tensor: torch.Tensor, hook: Any) -> None:
        values.append(float(tensor[0, 3, 0]))

    def half(tensor: torch.Tensor, hook: Any) -> None:
        tensor *= 0.5

    hooks = [
        (STREAM, ops.set(8.0)), (STREAM, look), (STREAM, half), (STREAM, look),
        (STREAM, ops.add(1.0)), (STREAM, double), (STREAM, look), (STREAM, ops.zero(pos=3)),
        (STREAM, look),
    ]  # fmt: skip
    logits, cache = pair.remote.run_with_cache(pair.tokens(), names_filter=STREAM, fwd_hooks=hooks)
    assert values == [8.0, 4.0, 10.0, 0.0]
    want = torch.full_like(cache[STREAM], 10.0)
    want[:, 3] = 0
    assert torch.equal(cache[STREAM], want)
    assert torch.equal(logits, pair.remote.run_with_hooks(pair.tokens(), [(STREAM, ops.set(want))]))


def test_a_function_does_what_the_op_does(pair: Pair) -> None:
    tokens = torch.cat([pair.tokens(3), pair.tokens(4)])

    def patch(tensor: torch.Tensor, hook: Any) -> None:
        tensor[1, 2:] = tensor[0, 2:]

    for name in (STREAM, "blocks.1.hook_resid_mid", "blocks.0.ln2.hook_in"):
        by_op = pair.remote.run_with_hooks(tokens, [(name, ops.copy(0, row=1, pos=slice(2, None)))])
        assert torch.equal(pair.remote.run_with_hooks(tokens, [(name, patch)]), by_op)


@pytest.mark.parametrize("side", ["left", "right"])
def test_in_a_padded_batch_each_row_is_as_alone(pair: Pair, side: str) -> None:
    prompts = [pair.tokens(3, 4)[0].tolist(), pair.tokens(4, 9)[0].tolist()]
    places = [STREAM, "blocks.1.attn.hook_pattern", "blocks.0.attn.q.hook_out"]

    def change(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
        if hook.name.endswith("hook_pattern"):
            pads = slice(0, 5) if side == "left" else slice(4, None)
            if tensor.shape[0] == 2:
                assert not tensor[0, :, pads].any()
                assert not tensor[0, :, :, pads].any()
        return tensor * 0.75 + 0.5  # also where there is padding, which goes nowhere

    hooks = [(name, change) for name in places]
    logits, cache = pair.remote.run_with_cache(
        prompts, names_filter=places, fwd_hooks=hooks, padding_side=side
    )
    for row, prompt in enumerate(prompts):
        alone = pair.remote.run_with_hooks([prompt], fwd_hooks=hooks)
        assert torch.equal(logits[row][cache.mask[row]], alone[0])
        assert not logits[row][~cache.mask[row]].any()


def test_read_only_functions_change_nothing_and_come_in_order(pair: Pair) -> None:
    seen = []

    @hookwire.read_only
    def look(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
        seen.append((hook.name, tensor.clone()))
        tensor.zero_()
        return tensor

    _, cache = pair.remote.run_with_cache(
        pair.tokens(), fwd_hooks=[("blocks.*.hook_in", look), ("embed.hook_in", look)]
    )
    layers = range(pair.remote.cfg.n_layers)
    assert [name for name, _ in seen] == [
        "embed.hook_in", *(f"blocks.{at}.hook_in" for at in layers)
    ]  # fmt: skip
    assert all(torch.equal(tensor, cache[name]) for name, tensor in seen)
    assert seen[0][1].tolist() == pair.tokens().tolist()


def test_what_cannot_be_written_can_be_looked_at_but_not_changed(pair: Pair) -> None:
    def zero(tensor: torch.Tensor, hook: Any) -> None:
        tensor.zero_()

    for name in ("embed.hook_in", "rotary_emb.full_attention.hook_in"):
        with pytest.raises(hookwire.ReadOnlyHookError, match=name):
            pair.remote.run_with_hooks(pair.tokens(), [(name, zero)])
    with pytest.raises(hookwire.ReadOnlyHookError):
        pair.remote.run_with_hooks(pair.tokens(), [("embed.hook_in", ops.zero())])
    pair.remote(pair.tokens())


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        (lambda x: x[:, 1:], hookwire.ValueShapeError),
        (lambda x: x[0, 0], hookwire.ValueShapeError),
        (lambda x: x[None], hookwire.ValueShapeError),
        (lambda x: x > 0, hookwire.ValueDtypeError),
        (lambda x: x.long(), hookwire.ValueDtypeError),
        (lambda x: x.to(torch.complex64), hookwire.ValueDtypeError),
        (lambda x: 0.0, hookwire.ValueDtypeError),
        (lambda x: "tensor", hookwire.ValueDtypeError),
        (lambda x: (x,), hookwire.ValueDtypeError),
    ],
)
def test_a_function_that_returns_no_such_tensor_is_told(
    e_type: Pair, returned: Any, error: Any
) -> None:
    with pytest.raises(error, match=r"blocks\.1\.hook_in"):
        e_type.remote.run_with_hooks(
            e_type.tokens(), [(STREAM, lambda tensor, hook: returned(tensor))]
        )
    e_type.remote(e_type.tokens())


def test_other_kinds_of_floating_point_are_rounded(e_type: Pair) -> None:
    def run(function: Any) -> Any:
        return e_type.remote.run_with_hooks(e_type.tokens(), [(STREAM, function)])

    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        got = run(lambda tensor, hook, dtype=dtype: tensor.to(dtype))
        want = run(lambda tensor, hook, dtype=dtype: tensor.to(dtype).float())
        assert torch.equal(got, want)
    assert torch.equal(run(lambda tensor, hook: tensor.numpy() * 2), run(double))


def test_numbers_that_are_not_finite_need_to_be_allowed(e_type: Pair) -> None:
    model, tokens = e_type.remote, e_type.tokens()

    def poison(tensor: torch.Tensor, hook: Any) -> None:
        tensor[0, 2, 1] = float("nan")

    with pytest.raises(hookwire.ValueNotFiniteError, match=r"blocks\.1\.hook_in"):
        model.run_with_hooks(tokens, [(STREAM, poison)])
    with pytest.warns(hookwire.NonFiniteWarning):
        logits = model.run_with_hooks(tokens, [(STREAM, poison)], allow_non_finite=True)
    assert_same(logits, e_type.local.run_with_hooks(tokens, fwd_hooks=[(STREAM, poison)]))

    def knock_out(scores: torch.Tensor, hook: Any) -> None:
        scores[:, :, 2:, 0] = -torch.inf

    name = "blocks.1.attn.hook_attn_scores"
    got = model.run_with_hooks(tokens, [(name, knock_out)])
    op = ops.set(-float("inf"), pos=slice(2, None), feature=0)
    assert torch.equal(got, model.run_with_hooks(tokens, [(name, op)]))


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Checkpoint, Any]]:
    """A model with a context long enough for a pattern that is larger than a message."""
    made = CHECKPOINTS["e-small-fp32"]
    checkpoint = replace(made, name="long", text={**made.text, "max_position_embeddings": 1024})
    directory = write(checkpoint, tmp_path_factory.mktemp("long") / "long")
    with (
        hookwired(directory, numerics="reference", dtype="auto", threads=1) as address,
        hookwire.connect(address, tensors="torch", quiet=True) as model,
    ):
        yield checkpoint, model


def test_values_larger_than_a_message_go_both_ways(long: tuple[Checkpoint, Any]) -> None:
    checkpoint, model = long
    prompts = [checkpoint.tokens(640, 1), checkpoint.tokens(640, 2)]
    name = "blocks.1.attn.hook_pattern"
    _, cache = model.run_with_cache(prompts, names_filter=name, return_type=None)
    assert cache[name][0].nbytes > MESSAGE
    factor = torch.linspace(0.5, 1.5, 640)

    def change(tensor: torch.Tensor, hook: Any) -> None:
        tensor *= factor

    def run(*hooks: Any) -> Any:
        logits, seen = model.run_with_cache(prompts, names_filter=name, fwd_hooks=hooks)
        assert torch.equal(seen[name], cache[name] * factor)
        return logits

    by_function = run((name, change))
    value = ops.set(cache[name] * factor)
    assert torch.equal(run((name, value)), by_function)
    assert torch.equal(run((name, value), (name, double), (name, ops.scale(0.5))), by_function)
    assert not torch.equal(by_function, model(prompts))


def test_kept_rows_are_not_sent_back(e_type: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    from hookwire.answer.visits import Visit

    sent = []
    answer = Visit.answer

    def spy(self: Visit, returned: Any) -> Any:
        for message in answer(self, returned):
            sent.append(message.WhichOneof("message"))
            yield message

    monkeypatch.setattr(Visit, "answer", spy)
    tokens = torch.cat([e_type.tokens(3), e_type.tokens(4), e_type.tokens(5)])

    def one_row(tensor: torch.Tensor, hook: Any) -> None:
        tensor[1] += 1

    got = e_type.remote.run_with_hooks(tokens, [(STREAM, one_row)])
    assert sorted(sent) == ["answer", "keep"]
    assert torch.equal(got, e_type.remote.run_with_hooks(tokens, [(STREAM, ops.add(1.0, row=1))]))


def test_numpy_is_enough(e_type: Pair) -> None:
    with hookwire.connect(e_type.address, tensors="numpy", quiet=True) as model:

        def change(array: Any, hook: Any) -> None:
            assert isinstance(array, np.ndarray)
            array[:, 2] = 0

        got = model.run_with_hooks(e_type.tokens().tolist(), [(STREAM, change)])
    want = e_type.remote.run_with_hooks(e_type.tokens(), [(STREAM, ops.zero(pos=2))])
    assert np.array_equal(got, want.numpy())


def test_a_plan_and_a_stream_with_functions(e_type: Pair) -> None:
    model, tokens = e_type.remote, e_type.tokens()
    hooks = [(STREAM, double), (STREAM, double)]
    plan = model.plan(tokens, "blocks.1.hook_out", fwd_hooks=hooks)
    planned = sorted(tensor.name for tensor in plan.tensors)
    assert planned == [STREAM, STREAM, "blocks.1.hook_out", "logits"]
    got = dict(model.stream(tokens, "blocks.1.hook_out", fwd_hooks=hooks))
    _, cache = model.run_with_cache(
        tokens, names_filter="blocks.1.hook_out", fwd_hooks=[(STREAM, ops.scale(4.0))]
    )
    assert list(got) == ["blocks.1.hook_out"]
    assert torch.equal(got["blocks.1.hook_out"], cache["blocks.1.hook_out"])


def test_a_chain_of_functions_over_every_layer(e_type: Pair) -> None:
    """What one function has made, the next one sees."""
    model = e_type.remote

    def halve_and_keep(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
        hook.ctx["norm"] = float(tensor.norm())
        return tensor * 0.5

    got = model.run_with_hooks(e_type.tokens(), [("blocks.*.hook_out", halve_and_keep)])
    want = model.run_with_hooks(e_type.tokens(), [("blocks.*.hook_out", ops.scale(0.5))])
    assert torch.equal(got, want)


def test_backward_hooks_are_refused(e_type: Pair) -> None:
    model = e_type.remote
    for call in (
        lambda: model.run_with_hooks(e_type.tokens(), bwd_hooks=[(STREAM, double)]),
        lambda: model.add_hook(STREAM, double, dir="bwd"),
        lambda: model.run_with_cache(e_type.tokens(), incl_bwd=True),
    ):
        with pytest.raises(hookwire.UnsupportedError, match="gradients"):
            call()


def test_what_is_no_hook_is_refused(e_type: Pair) -> None:
    for hooks in ([(STREAM,)], [(STREAM, 3)], [STREAM], [(3, double)]):
        with pytest.raises(TypeError):
            e_type.remote.run_with_hooks(e_type.tokens(), hooks)
    with pytest.raises(hookwire.GlobNoMatchError):
        e_type.remote.run_with_hooks(e_type.tokens(), [("blocks.*.hook_nothing", double)])
    with pytest.raises(hookwire.NeverFiresError):
        e_type.remote.run_with_hooks(e_type.tokens(), [("blocks.2.*", double)], stop_at_layer=1)
