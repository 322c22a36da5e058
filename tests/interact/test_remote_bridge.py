"""TransformerLens's `RemoteBridge` over a server, beside its `TransformerBridge` in process."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import hookwire
import pytest
import torch
from hookwire.transformer_lens import HookwireBridge, boot
from transformer_lens import patching
from transformer_lens.model_bridge.driver_protocol import Driver, validate_driver
from transformer_lens.model_bridge.remote_bridge import RemoteBridge
from transformer_lens.model_protocol import TransformerLensModel
from transformer_lens.utilities.slice import Slice

from tests.interact import test_functions, test_patching, test_state
from tests.interact.conftest import Pair, assert_same

STREAM = "blocks.1.hook_in"
# Of the configuration: the client has another name for the model, and nothing of its vision.
NOT_THE_SAME = {
    "model_name", "device", "initializer_range", "intermediate_size", "rope_parameters",
    "attention_bias", "eos_token_id", "moe_intermediate_size", "vision_config",
    "vision_hidden_size", "vision_num_layers", "vision_num_heads", "mm_tokens_per_image",
}  # fmt: skip


@pytest.fixture
def bridge(pair: Pair) -> Iterator[HookwireBridge]:
    # What the parent says of hooks that change nothing must not be said here.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with boot(pair.address, quiet=True) as bridge:
            yield bridge


@pytest.fixture
def booted(pair: Pair, bridge: HookwireBridge) -> Pair:
    """The pair, with the bridge in the place of Hookwire's own model."""
    return Pair(pair.checkpoint, pair.directory, pair.local, bridge, pair.address)


def double(tensor: torch.Tensor, hook: Any) -> torch.Tensor:
    return tensor * 2


def test_it_is_what_transformer_lens_asks_for(pair: Pair, bridge: HookwireBridge) -> None:
    assert isinstance(bridge, RemoteBridge)
    assert isinstance(bridge, TransformerLensModel)
    driver = bridge._driver
    assert isinstance(driver, Driver)
    validate_driver(driver, after_bridge_construction=True)
    assert driver.supports("intervention_callbacks")
    assert not driver.supports("gradients")
    assert driver.supported_hook_points == set(pair.remote.hook_names(aliases=False))
    assert list(bridge.hook_dict) == pair.remote.hook_names()
    theirs, ours = vars(pair.local.cfg), vars(bridge.cfg)
    differ = {name for name in theirs if name not in ours or theirs[name] != ours[name]}
    assert differ <= NOT_THE_SAME | {"per_layer_num_key_value_heads"}, differ
    assert bridge.cfg.n_key_value_heads == pair.local.cfg.n_key_value_heads
    assert bridge.cfg.device is None


def test_tokens_are_those_of_the_bridge_in_process(pair: Pair, bridge: HookwireBridge) -> None:
    texts = ["w5 w9 w7", "w30"]
    assert_same(bridge.to_tokens(texts), pair.local.to_tokens(texts))
    assert_same(bridge.to_tokens("w5", False), pair.local.to_tokens("w5", False))
    assert bridge.to_str_tokens("w5 w9") == pair.local.to_str_tokens("w5 w9")
    assert bridge.to_string(bridge.to_tokens("w5")[0]) == pair.local.to_string(
        pair.local.to_tokens("w5")[0]
    )
    assert bridge.to_single_token("w9") == 9
    assert bridge.tokenizer("w5 w9")["input_ids"] == pair.local.tokenizer("w5 w9")["input_ids"]
    assert bridge.tokenizer.padding_side == pair.local.tokenizer.padding_side


@pytest.mark.parametrize(
    "body",
    [
        test_functions.test_several_at_one_point_run_in_order,
        test_functions.test_predicates,
        test_functions.test_stop_at_layer,
        test_functions.test_an_early_stop_returns_the_stream_whatever_the_return_type,
        test_functions.test_a_cache_sees_what_hooks_around_it_have_made,
        test_functions.test_nested_blocks_apply_from_the_outside_in,
        test_functions.test_remove_batch_dim,
        test_functions.test_an_exception_comes_out_as_it_is_and_the_next_run_works,
        test_functions.test_the_hook_tells_where,
        test_state.test_an_added_hook_stays_until_it_is_reset,
        test_state.test_a_permanent_hook_stays_through_a_reset,
        test_state.test_reset_hooks_end_lets_the_hooks_of_a_run_stay,
        test_state.test_a_context_is_kept_until_it_is_cleared,
        test_state.test_a_run_that_lets_its_hooks_stay_may_clear_their_contexts,
    ],
    ids=lambda body: body.__name__.removeprefix("test_"),
)
def test_hooks_do_what_they_do_in_process(booted: Pair, body: Any) -> None:
    body(booted)


def test_hooks_change_the_computation(pair: Pair, bridge: HookwireBridge) -> None:
    for name in test_functions.PLACES:
        for function in (test_functions.edit_in_place, test_functions.returns_another):
            hooks = [(name, function)]
            got = bridge.run_with_hooks(pair.tokens(), fwd_hooks=hooks)
            assert_same(got, pair.local.run_with_hooks(pair.tokens(), fwd_hooks=hooks), name)


def test_every_form_of_a_filter(pair: Pair, bridge: HookwireBridge) -> None:
    for names_filter in (
        None,
        STREAM,
        "blocks.1.hook_resid_pre",
        ["hook_embed", "blocks.0.attn.hook_z", "blocks.1.mlp.hook_post"],
        lambda name: name.endswith(("hook_resid_post", "ln_final.hook_out")),
    ):
        got = bridge.run_with_cache(pair.tokens(), names_filter=names_filter)
        want = pair.local.run_with_cache(pair.tokens(), names_filter=names_filter)
        assert_same(got[0], want[0])
        names = set(want[1]) if names_filter is not None else set(want[1]) & set(got[1])
        assert set(got[1]) == names or names_filter is None
        for name in names:
            # The stream between attention and MLP is another place there, the scores another thing.
            if name.endswith(("hook_resid_mid", "hook_attn_scores")):
                continue
            assert_same(got[1][name].flatten(), want[1][name].flatten(), name)
    _, cache = bridge.run_with_cache(pair.tokens(), names_filter="blocks.*.hook_out")
    assert len(cache) == pair.remote.cfg.n_layers
    with pytest.raises(KeyError, match="hook_resid_pre"):
        bridge.run_with_cache(pair.tokens(), names_filter="blocks.1.hook_resid_prae")
    with pytest.raises(KeyError, match="did you mean"):
        bridge.run_with_hooks(pair.tokens(), fwd_hooks=[("blocks.1.hook_resid_prae", double)])
    with pytest.raises(KeyError):
        bridge.add_hook("blocks.1.hook_resid_prae", double)


def test_the_arguments_of_a_cache(pair: Pair, bridge: HookwireBridge) -> None:
    for chosen in (-1, [1, 3], (1, 4), Slice((0, 2))):
        _, got = bridge.run_with_cache(pair.tokens(), names_filter=STREAM, pos_slice=chosen)
        _, want = pair.local.run_with_cache(pair.tokens(), names_filter=STREAM, pos_slice=chosen)
        assert_same(got[STREAM], want[STREAM], str(chosen))
    output, plain = bridge.run_with_cache(
        pair.tokens(), return_cache_object=False, remove_batch_dim=True, names_filter=STREAM,
        return_type="loss", device="cpu",
    )  # fmt: skip
    want, there = pair.local.run_with_cache(
        pair.tokens(), return_cache_object=False, remove_batch_dim=True, names_filter=STREAM,
        return_type="loss",
    )  # fmt: skip
    assert type(plain) is dict
    assert_same(plain[STREAM], there[STREAM])
    torch.testing.assert_close(output, want, rtol=1e-5, atol=1e-6)
    with pytest.raises(NotImplementedError, match="gradients"):
        bridge.run_with_cache(pair.tokens(), incl_bwd=True)


def test_lists_of_strings(pair: Pair, bridge: HookwireBridge) -> None:
    texts = ["w5 w9 w7 w8", "w30 w31"]
    logits, cache = bridge.run_with_cache(texts, names_filter=STREAM)
    for row, text in enumerate(texts):
        want, alone = pair.local.run_with_cache(text, names_filter=STREAM)
        assert_same(logits[row][cache.mask[row]], want[0])
        assert_same(cache[STREAM][row][cache.mask[row]], alone[STREAM][0])
    hooked = bridge.run_with_hooks(texts, fwd_hooks=[(STREAM, double)], padding_side="right")
    want = pair.local.run_with_hooks(texts[1], fwd_hooks=[(STREAM, double)])
    assert_same(hooked[1, : want.shape[1]], want[0])
    assert_same(bridge("w5 w9"), pair.local("w5 w9"))


SPECS = [
    {"op": "suppress"},
    {"op": "suppress", "pos": 2},
    {"op": "scale", "factor": -0.5},
    {"op": "scale", "factor": 3.0, "pos": [1, 4]},
    {"op": "add", "value": 0.75, "pos": 3},
    {"op": "add", "value": "wide"},
    {"op": "set", "value": 1.25},
    {"op": "set", "value": "wide", "pos": [0, 5]},
    {"op": "set", "value": "each", "pos": [2, 3]},
]


def edited(x: torch.Tensor, spec: dict[str, Any]) -> torch.Tensor:
    """What a spec means: of [batch, pos, width], some positions and all else as it is."""
    pos = spec.get("pos", range(x.shape[1]))
    changed = x.clone()
    for number, at in enumerate([pos] if isinstance(pos, int) else pos):
        value = spec.get("value", 0.0)
        if isinstance(value, torch.Tensor) and value.ndim == 2:
            value = value[number]
        if spec["op"] == "scale":
            changed[:, at] = x[:, at] * spec["factor"]
        elif spec["op"] == "add":
            changed[:, at] = x[:, at] + value
        else:
            changed[:, at] = value
    return changed


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: "-".join(map(str, spec.values())))
def test_interventions_as_specs(pair: Pair, bridge: HookwireBridge, spec: dict[str, Any]) -> None:
    for name in ("blocks.1.hook_out", "blocks.0.mlp.hook_out", "blocks.1.attn.hook_z"):
        width = pair.remote.run_with_cache(pair.tokens(), names_filter=name)[1][name]
        width = width.flatten(2).shape[-1]
        given = dict(spec)
        if spec.get("value") == "wide":
            given["value"] = torch.linspace(-1, 1, width)
        elif spec.get("value") == "each":
            given["value"] = torch.linspace(-1, 1, 2 * width).reshape(2, width)

        def function(x: torch.Tensor, hook: Any, spec: dict[str, Any] = given) -> torch.Tensor:
            return edited(x.flatten(2), spec).reshape(x.shape)

        want = pair.local.run_with_hooks(pair.tokens(), fwd_hooks=[(name, function)])
        assert_same(bridge.forward(pair.tokens(), intervene={name: given}), want, name)
        got, _ = bridge.run_with_cache(pair.tokens(), names_filter=STREAM, intervene={name: given})
        assert_same(got, want, name)


def test_specs_that_are_none_are_refused(bridge: HookwireBridge, pair: Pair) -> None:
    for spec in (
        {}, {"op": "zero"}, {"op": "scale"}, {"op": "set"}, {"op": "add", "factor": 2.0},
        {"op": "suppress", "value": 1.0}, {"op": "suppress", "positions": [1]},
        {"op": "suppress", "pos": 1.5}, {"op": "suppress", "pos": True}, "suppress",
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"blocks\.1\.hook_in|'op'"):
            bridge.forward(pair.tokens(), intervene={STREAM: spec})
    with pytest.raises(KeyError):
        bridge.forward(pair.tokens(), intervene={"blocks.1.hook_inn": {"op": "suppress"}})
    with pytest.raises(hookwire.ValueShapeError):
        bridge.forward(pair.tokens(), intervene={STREAM: {"op": "set", "value": torch.zeros(3)}})


def test_the_driver_by_itself(pair: Pair, bridge: HookwireBridge) -> None:
    driver = bridge._driver
    names = ("blocks.0.hook_out", "blocks.1.attn.hook_pattern")
    result = driver.forward(pair.tokens(), capture=names, intervene={STREAM: {"op": "suppress"}})
    assert list(result.captured) == list(names)
    want = pair.local.run_with_hooks(pair.tokens(), fwd_hooks=[(STREAM, lambda x, hook: x * 0)])
    assert_same(result.logits, want)
    _, cache = pair.local.run_with_cache(pair.tokens())
    assert_same(result.captured["blocks.0.hook_out"], cache["blocks.0.hook_out"])
    assert result.raw_output.numerics == "reference"
    # Drivers that can call Python take functions, too.
    called = driver.forward(pair.tokens(), intervene={STREAM: lambda tensor: tensor * 0})
    assert_same(called.logits, want)
    nothing = driver.forward(pair.tokens(), capture=names[:1], return_logits=False)
    assert nothing.logits is None
    assert nothing.raw_output.n_layers_run == 1
    stopped = driver.forward(pair.tokens(), stop_at_layer=1, return_logits=False)
    assert stopped.logits is None
    with pytest.raises(ValueError, match="input_ids"):
        driver.forward()
    with pytest.raises(NotImplementedError):
        driver.forward(pair.tokens(), max_new_tokens=2)


def test_capture_lets_hooks_read_without_holding_the_run(
    pair: Pair, bridge: HookwireBridge
) -> None:
    seen = []

    def look(tensor: torch.Tensor, hook: Any) -> None:
        seen.append((hook.name, tensor))
        tensor.zero_()

    bridge.add_hook("blocks.0.hook_resid_post", look)
    bridge.add_hook(STREAM, double)
    got = bridge.forward(pair.tokens(), capture=["blocks.0.hook_resid_post"])
    assert [name for name, _ in seen] == ["blocks.0.hook_out"]
    want = pair.local.run_with_hooks(pair.tokens(), fwd_hooks=[(STREAM, double)])
    assert_same(got, want)


def test_start_at_layer(
    pair: Pair, bridge: HookwireBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("image_token_id", "video_token_id", "audio_token_id"):
        monkeypatch.setattr(pair.local.original_model.config, name, 3)
    logits, cache = pair.local.run_with_cache(pair.tokens())
    residual = cache[STREAM]
    got = bridge(residual, start_at_layer=1, tokens=pair.tokens())
    assert_same(got, logits)
    hooks = [("blocks.1.mlp.hook_out", double)]
    hooked = bridge.run_with_hooks(
        residual, fwd_hooks=hooks, start_at_layer=1, tokens=pair.tokens()
    )
    if not pair.remote.cfg.d_per_layer_input:
        want = pair.local.run_with_hooks(residual, fwd_hooks=hooks, start_at_layer=1)
        assert_same(hooked, want)
        assert_same(bridge(residual, start_at_layer=1), logits)
    _, since = bridge.run_with_cache(residual, start_at_layer=1, tokens=pair.tokens())
    assert STREAM in since
    assert "blocks.0.hook_out" not in since
    for name in ("blocks.0.hook_out", "hook_embed"):
        with pytest.raises(hookwire.NeverFiresError):
            bridge.run_with_hooks(
                residual, fwd_hooks=[(name, double)], start_at_layer=1, tokens=pair.tokens()
            )
    with pytest.raises(hookwire.NeverFiresError):
        bridge.run_with_hooks(
            pair.tokens(), fwd_hooks=[("blocks.2.hook_in", double)], stop_at_layer=1
        )


def test_losses_and_labels(pair: Pair, bridge: HookwireBridge) -> None:
    tokens = torch.cat([pair.tokens(3), pair.tokens(4)])
    labels = tokens.clone()
    labels[0, 3:] = -100
    want = pair.local._causal_labels_loss(pair.remote(tokens), labels)
    assert_same(bridge(tokens, return_type="loss", labels=labels), want)
    logits, loss = bridge(tokens, return_type="both", loss_per_token=True)
    assert_same(logits, pair.remote(tokens))
    per_token = pair.local.loss_fn(logits, tokens, per_token=True)
    torch.testing.assert_close(loss, per_token, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="return_type"):
        bridge(tokens, return_type="everything")
    assert bridge(tokens, return_type=None) is None
    with pytest.raises(ValueError, match="needs the whole pass"):
        bridge(tokens, return_type="loss", labels=labels, stop_at_layer=1)


@pytest.mark.parametrize("name", ["resid_pre", "attn_head_out_by_pos", "attn_head_k_all_pos"])
def test_patching_over_the_bridge(booted: Pair, name: str) -> None:
    function = test_patching.named(name)
    there = test_patching.outcome(booted.local, booted, function)
    assert_same(test_patching.outcome(booted.remote, booted, function), there)


def test_patterns_and_inputs_of_a_head_can_be_changed(booted: Pair, bridge: HookwireBridge) -> None:
    here = test_patching.sweep(bridge, booted, patching.get_act_patch_attn_head_pattern_all_pos)
    assert here.unique().numel() > here.numel() // 4
    changed = bridge.run_with_hooks(
        booted.tokens(), fwd_hooks=[("blocks.1.attn.hook_q_input", double)]
    )
    assert not torch.equal(changed, bridge(booted.tokens()))


def test_what_it_has_not_is_refused(pair: Pair, bridge: HookwireBridge) -> None:
    for call in (
        lambda: bridge.run_with_hooks(pair.tokens(), bwd_hooks=[(STREAM, double)]),
        lambda: bridge.add_hook(STREAM, double, dir="bwd"),
    ):
        with pytest.raises(NotImplementedError, match="gradients"):
            call()
    bridge.close()
    bridge.close()
    with pytest.raises((hookwire.HookwireError, ValueError)):
        bridge(pair.tokens())


def test_without_transformer_lens_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith("hookwire.transformer_lens"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(hookwire, "transformer_lens", raising=False)
    monkeypatch.setitem(sys.modules, "transformer_lens", None)
    monkeypatch.setitem(sys.modules, "transformer_lens.model_bridge.remote_bridge", None)
    with pytest.raises(ImportError, match=r"hookwire\[transformer-lens\]"):
        importlib.import_module("hookwire.transformer_lens")


def test_a_bridge_is_made_again_for_another_load(bridge: HookwireBridge) -> None:
    with pytest.raises(hookwire.UnsupportedError, match=r"boot\(…\) makes one"):
        bridge.remote.reconnect()


def test_what_a_bridge_has_not_says_where_it_is(bridge: HookwireBridge) -> None:
    for name, said in (
        ("W_Q", r"a bridge has no W_Q: bridge\.remote\.W_Q is it"),
        ("log_probs", r"bridge\.remote\.log_probs is it"),
        ("generate", "a bridge has no generate: It is not supported yet"),
        ("blocks", "a bridge has no blocks: "),
        ("run_with_cash", "did you mean 'run_with_cache'"),
        ("_zzz", "a bridge has no attribute '_zzz'"),
    ):
        assert not hasattr(bridge, name)
        with pytest.raises(AttributeError, match=said) as caught:
            getattr(bridge, name)
        assert isinstance(caught.value, hookwire.HookwireError)
    with pytest.raises(
        hookwire.HookNotFoundError, match=r"did you mean 'blocks\.1\.hook_resid_pre'"
    ):
        bridge.hook_dict["blocks.1.hook_resid_prae"]


WRONG = {
    "a function without hook": (
        lambda b: b.run_with_hooks([[2]], fwd_hooks=[(STREAM, lambda tensor: tensor)]),
        r"is called as function\(tensor, hook=hook\)",
    ),
    "no function": (lambda b: b.add_hook(STREAM, None), "not callable"),
    "half a function": (lambda b: b.add_hook(STREAM, lambda tensor: tensor), "does not take"),
    "one pair": (lambda b: b.hooks(fwd_hooks=(STREAM, double)), "put it into a list"),
    "an op": (
        lambda b: b.run_with_hooks([[2]], fwd_hooks=[(STREAM, hookwire.ops.zero())]),
        r"hooks are functions, and ops\.zero\(\) at 'blocks\.1\.hook_in' is an op",
    ),
    "a keyword": (
        lambda b: b([[2]], return_typ="logits"),
        r"^bridge\(\) got an .* 'return_typ'; did you mean 'return_type'\?$",
    ),
    "a list to intervene": (lambda b: b([[2]], intervene=[STREAM]), "intervene must be a dict"),
    "text as factor": (
        lambda b: b([[2]], intervene={STREAM: {"op": "scale", "factor": "x"}}),
        "factor must be a number",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_argument_of_a_bridge(bridge: HookwireBridge, what: str) -> None:
    call, message = WRONG[what]
    with pytest.raises(TypeError, match=message) as caught:
        call(bridge)
    assert isinstance(caught.value, hookwire.HookwireError)


def test_one_name_may_be_captured(bridge: HookwireBridge) -> None:
    seen = []
    bridge.add_hook(STREAM, lambda tensor, hook: seen.append(tensor.shape[:2]))
    bridge([[2, 3]], capture=STREAM)
    assert seen == [(1, 2)]


def test_backward_hooks_of_a_block_are_refused(bridge: HookwireBridge) -> None:
    with pytest.raises(hookwire.UnsupportedError, match="bwd_hooks are not supported"):
        bridge.hooks(bwd_hooks=[(STREAM, double)])
