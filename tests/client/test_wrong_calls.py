"""A call with arguments that a function does not take says which it takes, in one sentence."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any

import hookwire
import numpy as np
import pytest
import torch
from hookwire import aio, ops
from hookwire.cache import Slice
from hookwire.text.tokenizer import Tokenizer

from tests.client.conftest import tokenizer_files
from tests.client.fake_server import FakeServer

Model = hookwire.RemoteModel
IDS = [[3, 1, 4]]
CHOICES = "pos, head, feature, row"

WRONG: dict[str, tuple[Callable[[Model], Any], str]] = {
    "hookwire.connect": (
        lambda m: hookwire.connect(m.server.address, tensor="numpy"),
        r"hookwire\.connect\(\) got an .* 'tensor'; did you mean 'tensors'\?$",
    ),
    "an address twice": (
        lambda m: hookwire.connect("a:1", address="b:1"),
        r"hookwire\.connect\(\) got 'address' twice: by its position and by its keyword$",
    ),
    "a second position": (
        lambda m: hookwire.connect("a:1", "numpy"),
        r"hookwire\.connect\(\) got 2 arguments by position, and takes 1 \(address\); tensors, ",
    ),
    "ops.set": (
        lambda m: ops.set(1.0, position=3),
        rf"ops\.set\(\) got an .* 'position'; it takes value, {CHOICES}$",
    ),
    "heads of an op": (
        lambda m: ops.zero(heads=3),
        r"ops\.zero\(\) got an .* 'heads'; did you mean 'head'\?$",
    ),
    "an op by position": (
        lambda m: ops.zero(3),
        rf"ops\.zero\(\) got 1 argument by position, and takes none; {CHOICES} can be given by",
    ),
    "an op without its value": (
        lambda m: ops.add(),
        r"ops\.add\(\) needs 'value', which was not given$",
    ),
    "model.hooks": (
        lambda m: m.hooks(fwd_hook=[]),
        r"model\.hooks\(\) got an .* 'fwd_hook'; did you mean 'fwd_hooks'\?$",
    ),
    "model.add_hook": (
        lambda m: m.add_hook("hook_embed", ops.zero(), level=1),
        r"model\.add_hook\(\) got an .* 'level'; it takes name, hook_fn, dir, is_permanent$",
    ),
    "half a hook": (
        lambda m: m.add_hook("hook_embed"),
        r"model\.add_hook\(\) needs 'hook_fn', which was not given$",
    ),
    "model.to_tokens": (
        lambda m: m.to_tokens("a", prepend_bus=True),
        r"model\.to_tokens\(\) got an .* 'prepend_bus'; did you mean 'prepend_bos'\?$",
    ),
    "model.forward": (
        lambda m: m.forward(IDS, return_typ="logits"),
        r"model\.forward\(\) got an .* 'return_typ'; did you mean 'return_type'\?$",
    ),
    "no input": (lambda m: m(), r"model\(\) needs 'input', which was not given$"),
    "an input under Transformers' name": (
        lambda m: m(input_ids=IDS),
        r"model\(\) needs 'input', which was not given; 'input_ids' is not one of its arguments$",
    ),
    "the tokenizer": (
        lambda m: m.tokenizer("a", add_specials=True),
        r"tokenizer\(\) got an .* 'add_specials'; did you mean 'add_special_tokens'\?$",
    ),
    "a method that calls another": (
        lambda m: m.tokenizer.encode("a", add_special_token=True),
        r"tokenizer\.encode\(\) got an .* 'add_special_token'; did you mean 'add_special_tokens'",
    ),
    "a batch to decode": (
        lambda m: m.tokenizer.batch_decode([[1]], skip_special=True),
        r"tokenizer\.batch_decode\(\) got an .* 'skip_special'; did you mean 'skip_special_tokens'",
    ),
    "a cache": (
        lambda m: m.run_with_cache(IDS)[1].decompose_resid(layers=2),
        r"cache\.decompose_resid\(\) got an .* 'layers'; did you mean 'layer'\?$",
    ),
    "a slice": (
        lambda m: Slice(1, 5, 2),
        r"Slice\(\) got 3 arguments by position, and takes 2 \(input_slice, what\)$",
    ),
    "a tokenizer's files": (lambda m: Tokenizer(), r"Tokenizer\(\) needs 'files'"),
    "a parameter's rows": (
        lambda m: m.weights.rows("embed.weight"),
        r"model\.weights\.rows\(\) needs 'rows', which was not given$",
    ),
    "a short name": (
        lambda m: hookwire.get_act_name("q", 1, "attn", 5),
        r"hookwire\.get_act_name\(\) got 4 arguments by position, and takes 3 \(name, layer, ",
    ),
    "a picture": (
        lambda m: hookwire.plot.heatmap([[1.0]], token=["a"]),
        r"plot\.heatmap\(\) got an .* 'token'; did you mean 'tokens'\?$",
    ),
    "a filter where a truth is": (
        lambda m: m.run_with_cache(IDS, "blocks.*.hook_out"),
        r"return_cache_object of model\.run_with_cache\(\) must be True or False, not "
        r"'blocks\.\*\.hook_out'\. It was given by its position; if another argument is meant, ",
    ),
    "a mode where a truth is": (
        lambda m: m.run_with_cache(IDS)[1].decompose_resid(2, "attn"),
        r"mlp_input of cache\.decompose_resid\(\) must be True or False, not 'attn'\. It was ",
    ),
    "a number as truth": (
        lambda m: m.run_with_hooks(IDS, reset_hooks_end=1),
        r"reset_hooks_end of model\.run_with_hooks\(\) must be True or False, not 1$",
    ),
    "text as truth": (
        lambda m: m.to_tokens("a", "left"),
        r"prepend_bos of model\.to_tokens\(\) must be True, False or None, not 'left'\. It was ",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_call(model: Model, what: str) -> None:
    call, message = WRONG[what]
    with pytest.raises(TypeError, match=f"^{message}") as caught:
        call(model)
    assert isinstance(caught.value, hookwire.HookwireError)


@pytest.mark.parametrize("keyword", ["past_kv_cache", "past_key_values", "shortformer_pos_embed"])
def test_arguments_of_transformer_lens_that_are_not_served(model: Model, keyword: str) -> None:
    assert model(IDS, **{keyword: None}).shape[:2] == (1, 3)
    with pytest.raises(hookwire.UnsupportedError, match=f"^{keyword} is not supported: "):
        model(IDS, **{keyword: object()})


async def test_so_says_the_asynchronous_twin(server: FakeServer) -> None:
    async with await aio.connect(server.address, quiet=True) as twin:
        for call, message in (
            (
                lambda: aio.connect("a:1", tensor="numpy"),
                "hookwire.aio.connect() got an unexpected",
            ),
            (lambda: twin.to_tokens("a", prepend=True), "model.to_tokens() got an unexpected"),
            (lambda: twin.run_with_cache(), "model.run_with_cache() needs 'input'"),
            (lambda: twin.run_with_cache(IDS, "**"), "return_cache_object of model.run_with_cache"),
            (lambda: twin.plan(IDS, "**", 3), "model.plan() got 3 arguments by position"),
        ):
            with pytest.raises(hookwire.ArgumentTypeError) as caught:
                await call()
            assert str(caught.value).startswith(message)
        assert inspect.iscoroutinefunction(twin.to_tokens)


def test_truths_of_other_libraries_are_truths(model: Model) -> None:
    for truth in (True, np.bool_(True), torch.tensor(True)):
        assert model.to_tokens("a", truth).shape == (1, 2)


def test_an_error_of_the_users_own_code_stays(model: Model) -> None:
    def broken(name: str) -> bool:
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$") as caught:
        model.run_with_cache(IDS, names_filter=broken)
    assert not isinstance(caught.value, hookwire.HookwireError)
    with pytest.raises(TypeError) as caught, model.hooks([]):
        raise TypeError("mine")
    assert not isinstance(caught.value, hookwire.HookwireError)


def test_what_is_checked_looks_as_it_is() -> None:
    assert list(inspect.signature(ops.zero).parameters) == CHOICES.split(", ")
    assert ops.zero.__module__ == "hookwire.ops"
    assert pickle.loads(pickle.dumps(ops.zero)) is ops.zero
    assert (Model.run_with_cache.__doc__ or "").startswith("Runs the model and returns")
    Tokenizer(tokenizer_files()).to_tokens(input="a")
