"""Functions that return None: what their tensor then holds is what the pass goes on with."""

from __future__ import annotations

from typing import Any

import hookwire
import numpy as np
import pytest
import torch

from tests.interact.conftest import Pair

# Where TransformerLens hands the function the tensor that the pass goes on with, and no view of it.
PLACES = (
    "blocks.0.hook_in", "blocks.1.hook_out", "blocks.1.attn.hook_out", "blocks.0.ln1.hook_out",
    "blocks.1.mlp.out.hook_in", "ln_final.hook_in",
)  # fmt: skip
VIEWS = ("blocks.1.attn.q.hook_out", "blocks.1.attn.o.hook_in", "blocks.0.attn.q_norm.hook_out")
STREAM = "blocks.1.hook_in"


def changed(tensor: torch.Tensor) -> torch.Tensor:
    return tensor * -1.5 + 0.25


def data(tensor: torch.Tensor, hook: Any) -> None:
    tensor.data = changed(tensor)


def data_not_contiguous(tensor: torch.Tensor, hook: Any) -> None:
    new = changed(tensor)
    tensor.data = new.transpose(0, -1).contiguous().transpose(0, -1)


def set_(tensor: torch.Tensor, hook: Any) -> None:
    tensor.set_(changed(tensor))


def set_storage(tensor: torch.Tensor, hook: Any) -> None:
    new = changed(tensor).contiguous()
    tensor.set_(new.untyped_storage(), 0, new.shape, new.stride())


def data_then_in_place(tensor: torch.Tensor, hook: Any) -> None:
    tensor.data = tensor * -1.5
    tensor += 0.25


def in_place_then_data(tensor: torch.Tensor, hook: Any) -> None:
    tensor *= -1.5
    tensor.data = tensor + 0.25


def data_copy_(tensor: torch.Tensor, hook: Any) -> None:
    tensor.data.copy_(changed(tensor))


def copy_(tensor: torch.Tensor, hook: Any) -> None:
    tensor.copy_(changed(tensor))


def out_of_an_operation(tensor: torch.Tensor, hook: Any) -> None:
    torch.add(tensor * -1.5, 0.25, out=tensor)


def numpy_in_place(tensor: torch.Tensor, hook: Any) -> None:
    array = tensor.numpy()
    np.copyto(array, changed(tensor).numpy())


def whole(tensor: torch.Tensor, hook: Any) -> None:
    tensor[...] = changed(tensor)


OTHER_MEMORY = (data, set_, set_storage, data_then_in_place, in_place_then_data)
SAME_MEMORY = (data_copy_, copy_, out_of_an_operation, numpy_in_place, whole)


def returned(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
    return changed(tensor)


@pytest.mark.parametrize("function", OTHER_MEMORY + SAME_MEMORY)
def test_what_the_tensor_holds_has_the_effect_that_it_has_in_process(
    pair: Pair, function: Any
) -> None:
    plain = pair.remote(pair.tokens())
    for name in PLACES:
        logits = pair.same(
            lambda model, name=name: model.run_with_hooks(
                pair.tokens(), fwd_hooks=[(name, function)]
            )
        )
        assert not torch.equal(logits, plain), name


# In process the strides too go on, and with them the sums have other bits.
@pytest.mark.parametrize("function", [*OTHER_MEMORY, *SAME_MEMORY, data_not_contiguous])
def test_everywhere_it_is_that_of_returning_the_tensor(pair: Pair, function: Any) -> None:
    """Also where TransformerLens shows a view, and does not see that it is of other memory."""
    tokens = torch.cat([pair.tokens(3), pair.tokens(4)])
    for name in (*PLACES, *VIEWS):
        want = pair.local.run_with_hooks(pair.tokens(), fwd_hooks=[(name, returned)])
        got = pair.remote.run_with_hooks(pair.tokens(), fwd_hooks=[(name, function)])
        assert torch.equal(got, want), name
    want = pair.remote.run_with_hooks(tokens, fwd_hooks=[(STREAM, returned)])
    assert torch.equal(pair.remote.run_with_hooks(tokens, fwd_hooks=[(STREAM, function)]), want)


def test_a_pattern_that_is_transposed_in_place(pair: Pair) -> None:
    def transpose(tensor: torch.Tensor, hook: Any) -> None:
        tensor.transpose_(-1, -2)

    def of_another(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
        return tensor.transpose(-1, -2).contiguous()

    name = "blocks.1.attn.hook_pattern"
    want = pair.remote.run_with_hooks(pair.tokens(), [(name, of_another)])
    assert torch.equal(pair.remote.run_with_hooks(pair.tokens(), [(name, transpose)]), want)
    assert not torch.equal(want, pair.remote(pair.tokens()))


def test_in_bfloat16_too(bfloat16: Pair) -> None:
    for function in (*OTHER_MEMORY, data_copy_):
        bfloat16.same(
            lambda model, function=function: model.run_with_hooks(
                bfloat16.tokens(), fwd_hooks=[(STREAM, function)]
            )
        )


def test_without_the_batch_axis(e_type: Pair) -> None:
    def body(function: Any) -> torch.Tensor:
        return e_type.remote.run_with_hooks(
            e_type.tokens(), fwd_hooks=[(STREAM, function)], remove_batch_dim=True
        )

    want = e_type.remote.run_with_hooks(e_type.tokens(), [(STREAM, returned)])
    for function in OTHER_MEMORY:
        assert torch.equal(body(function), want)


def test_what_a_later_function_sees(e_type: Pair) -> None:
    seen = []

    def look(tensor: torch.Tensor, hook: Any) -> None:
        seen.append(tensor.clone())

    _, cache = e_type.remote.run_with_cache(
        e_type.tokens(), names_filter=STREAM, fwd_hooks=[(STREAM, data), (STREAM, look)]
    )
    _, before = e_type.remote.run_with_cache(e_type.tokens(), names_filter=STREAM)
    want = changed(before[STREAM])
    assert torch.equal(seen[0], want)
    assert torch.equal(cache[STREAM], want)


def test_a_gradient_that_is_asked_for_is_no_change(e_type: Pair) -> None:
    def ask(tensor: torch.Tensor, hook: Any) -> None:
        tensor.requires_grad_()

    def ask_and_change(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
        with torch.enable_grad():
            return changed(tensor.requires_grad_())

    model, tokens = e_type.remote, e_type.tokens()
    assert torch.equal(model.run_with_hooks(tokens, [(STREAM, ask)]), model(tokens))
    want = model.run_with_hooks(tokens, [(STREAM, returned)])
    assert torch.equal(model.run_with_hooks(tokens, [(STREAM, ask_and_change)]), want)


@pytest.mark.parametrize(
    ("other", "error"),
    [
        (lambda x: x[:, 1:].clone(), hookwire.ValueShapeError),
        (lambda x: x[0].clone(), hookwire.ValueShapeError),
        (lambda x: x[None].clone(), hookwire.ValueShapeError),
        (lambda x: x.double(), hookwire.ValueDtypeError),
        (lambda x: x.bfloat16(), hookwire.ValueDtypeError),
        (lambda x: x.long(), hookwire.ValueDtypeError),
        (lambda x: x > 0, hookwire.ValueDtypeError),
    ],
)
def test_another_shape_or_dtype_is_refused(e_type: Pair, other: Any, error: Any) -> None:
    model, tokens = e_type.remote, e_type.tokens()

    def put(tensor: torch.Tensor, hook: Any) -> None:
        tensor.data = other(tensor)

    with pytest.raises(error, match=r"blocks\.1\.hook_in has made its tensor"):
        model.run_with_hooks(tokens, [(STREAM, put)])
    model(tokens)


@pytest.mark.parametrize(
    "method",
    [
        lambda x: x.unsqueeze_(0),
        lambda x: x.squeeze_(0),
        lambda x: x.transpose_(1, 2),
        lambda x: x.resize_(1, 2, 3),
    ],
)
def test_another_shape_in_place_is_refused(e_type: Pair, method: Any) -> None:
    def reshape(tensor: torch.Tensor, hook: Any) -> None:
        method(tensor)

    with pytest.raises(hookwire.ValueShapeError, match="has made its tensor one of shape"):
        e_type.remote.run_with_hooks(e_type.tokens(), [(STREAM, reshape)])


def test_with_numpy_only(e_type: Pair) -> None:
    def new_shape(array: Any, hook: Any) -> None:
        array.shape = (-1,)

    def new_dtype(array: Any, hook: Any) -> None:
        array.dtype = np.int32

    def copied(array: Any, hook: Any) -> None:
        np.copyto(array, array * np.float32(-1.5) + np.float32(0.25))

    want = e_type.remote.run_with_hooks(e_type.tokens(), [(STREAM, returned)])
    tokens = e_type.tokens().tolist()
    with hookwire.connect(e_type.address, tensors="numpy", quiet=True) as model:
        assert np.array_equal(model.run_with_hooks(tokens, [(STREAM, copied)]), want.numpy())
        with pytest.raises(hookwire.ValueShapeError):
            model.run_with_hooks(tokens, [(STREAM, new_shape)])
        with pytest.raises(hookwire.ValueDtypeError):
            model.run_with_hooks(tokens, [(STREAM, new_dtype)])


def test_where_nothing_can_be_written_it_is_refused_too(e_type: Pair) -> None:
    def put(tensor: torch.Tensor, hook: Any) -> None:
        tensor.data = tensor + 1

    def same(tensor: torch.Tensor, hook: Any) -> None:
        tensor.data = tensor.clone()

    model, tokens = e_type.remote, e_type.tokens()
    for name in ("embed.hook_in", "rotary_emb.full_attention.hook_in"):
        with pytest.raises(hookwire.ReadOnlyHookError, match=name):
            model.run_with_hooks(tokens, [(name, put)])
        model.run_with_hooks(tokens, [(name, same)])


def test_a_function_that_only_looks_changes_nothing(e_type: Pair) -> None:
    model, tokens = e_type.remote, e_type.tokens()
    for function in OTHER_MEMORY:
        got = model.run_with_hooks(tokens, [(STREAM, hookwire.read_only(function))])
        assert torch.equal(got, model(tokens))


def test_an_exception_has_a_note_that_names_the_hook_point(e_type: Pair) -> None:
    cause = KeyError("inner")

    def fail(tensor: torch.Tensor, hook: Any) -> None:
        raise LookupError("mine") from cause

    for marked in (fail, hookwire.read_only(fail)):
        with pytest.raises(LookupError) as caught:
            e_type.remote.run_with_hooks(e_type.tokens(), [("blocks.1.hook_resid_pre", marked)])
        assert caught.value.args == ("mine",)
        assert caught.value.__cause__ is cause
        (note,) = caught.value.__notes__
        assert "blocks.1.hook_resid_pre" in note
        assert "fail" in note


def test_an_asynchronous_function_needs_a_model_that_awaits_it(e_type: Pair) -> None:
    async def change(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
        return tensor * 2

    for marked in (change, hookwire.read_only(change)):
        with pytest.raises(hookwire.HookwireError, match=r"hookwire\.aio"):
            e_type.remote.run_with_hooks(e_type.tokens(), [(STREAM, marked)])
