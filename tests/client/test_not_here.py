"""What a remote model has not, it says why, as the page in the docs does."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import hookwire
import pytest
from hookwire import aio
from hookwire.facts import not_here

from tests.client.fake_server import FakeServer

OF_A_MODEL = [
    (name, group) for group in (*not_here.MODEL, *not_here.EARLIER) for name in group.names
]
OF_A_CONFIG = [
    (name, group) for group in (*not_here.CONFIG, *not_here.EARLIER_CONFIG) for name in group.names
]


def check(thing: Any, name: str, group: not_here.Group) -> None:
    assert not hasattr(thing, name)
    with pytest.raises(hookwire.UnsupportedError) as caught:
        getattr(thing, name)
    assert isinstance(caught.value, AttributeError)
    said = str(caught.value)
    assert name in said
    assert group.why in said
    assert group.instead in said


async def test_every_name_that_is_not_here_says_why(
    server: FakeServer, model: hookwire.RemoteModel
) -> None:
    async with await aio.connect(server.address, quiet=True) as twin:
        for name, group in OF_A_MODEL:
            if name != "blocks":  # it has more to say
                check(model, name, group)
                check(twin, name, group)
        for name, group in OF_A_CONFIG:
            check(model.cfg, name, group)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda model: model.generate("a", max_new_tokens=3), "one forward pass"),
        (lambda model: model.to("cuda"), "--device"),
        (lambda model: model.cuda(), "--device"),
        (lambda model: model.half(), "--dtype"),
        (lambda model: model.train(), "trains nothing"),
        (lambda model: list(model.parameters()), "model.weights"),
        (lambda model: model.named_parameters(), "model.weights"),
        (lambda model: model.zero_grad(), "computes no gradients"),
        (lambda model: model.state_dict(), "on the server"),
        (lambda model: model.load_state_dict({}), "on the server"),
        (lambda model: model.set_use_attn_result(True), "nothing to switch"),
        (lambda model: model.set_use_split_qkv_input(True), "nothing to switch"),
        (lambda model: model.blocks[0].attn, "model.W_Q"),
        (lambda model: model.cfg.rope_parameters, "cfg.ropes"),
        (lambda model: model.config, "model.cfg"),
        (lambda model: model.lm_head.weight, "model.W_U"),
        (lambda model: model.model.layers[0], "model.W_U"),
        (lambda model: model.layers[0], "model.hook_dict"),
        (lambda model: model.lm_cross_entropy_loss, 'return_type="loss"'),
        (lambda model: model.cfg.hidden_size, "cfg.d_model"),
        (lambda model: model.cfg.num_hidden_layers, "cfg.n_layers"),
        (lambda model: model.cfg.vocab_size, "cfg.d_vocab"),
        (lambda model: model.cfg.ungroup_grouped_query_attention, "cfg.n_key_value_heads"),
        (lambda model: model.save_pretrained("x"), "files are on the server"),
        (lambda model: model.pos_embed, "rotary"),
        (lambda model: model.past_kv_cache, "whole sequences"),
        (lambda model: model.check_and_add_hook("hook_embed", None), "model.add_hook"),
        (lambda model: model.call_dump_patches, "in your process"),
    ],
)
def test_the_reason_is_that_of_the_table(
    model: hookwire.RemoteModel, call: Any, reason: str
) -> None:
    with pytest.raises(AttributeError, match=reason) as caught:
        call(model)
    assert isinstance(caught.value, hookwire.HookwireError)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("run_with_cash", "run_with_cache"),
        ("W_Qs", "W_Q"),
        ("hookdict", "hook_dict"),
        ("xyz", None),
    ],
)
def test_a_misspelt_attribute(model: hookwire.RemoteModel, name: str, near: str | None) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(model, name)
    assert isinstance(caught.value, hookwire.HookwireError)
    hint = f"; did you mean {near!r}?" if near else ""
    assert str(caught.value) == f"a remote model has no attribute {name!r}{hint}"
    with pytest.raises(AttributeError, match="did you mean 'n_layers'"):
        model.cfg.nlayers  # noqa: B018


def test_evaluation_is_what_it_does(model: hookwire.RemoteModel) -> None:
    assert model.eval() is model
    assert model.training is False
    assert (model.device, model.dtype) == ("cpu", "float32")


def test_device_and_dtype_are_torchs(server: FakeServer) -> None:
    torch = pytest.importorskip("torch")
    with hookwire.connect(server.address, tensors="torch", quiet=True) as model:
        assert model.device == torch.device("cpu")
        assert model.dtype is torch.float32
        logits = model([[3, 1]])
        assert logits.to(model.device, model.dtype).dtype is logits.dtype


def test_a_configuration_is_still_a_value(model: hookwire.RemoteModel) -> None:
    assert pickle.loads(pickle.dumps(model.cfg)) == model.cfg == copy.deepcopy(model.cfg)
    assert model.cfg.tokenizer_prepends_bos is True
    assert model.cfg.use_attn_result is True
    assert model.cfg.eos_token_id == 1
    assert model.cfg.num_experts is None
