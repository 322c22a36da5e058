"""`start_at_layer`: a run that begins with the residual stream that enters a layer."""

from __future__ import annotations

from typing import Any

import hookwire
import pytest
import torch

from tests.interact.conftest import Pair
from tests.interact.test_functions import edit_in_place


def needs_tokens(pair: Pair) -> bool:
    return bool(pair.remote.cfg.d_per_layer_input)


def alongside(pair: Pair) -> dict[str, Any]:
    return {"tokens": pair.tokens()} if needs_tokens(pair) else {}


def stream(pair: Pair, layer: int) -> torch.Tensor:
    """One that no run of the model's own has."""
    _, cache = pair.remote.run_with_cache(pair.tokens(9), names_filter=f"blocks.{layer}.hook_in")
    return cache[f"blocks.{layer}.hook_in"] * 1.25


@pytest.mark.parametrize("layer", [0, 1, -1])
def test_a_run_goes_on_as_in_process(
    pair: Pair, layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where TransformerLens can: without tokens it has no per-layer embeddings."""
    # It looks for embeddings of these among what it is given; a tiny vocabulary must have them.
    for name in ("image_token_id", "video_token_id", "audio_token_id"):
        monkeypatch.setattr(pair.local.original_model.config, name, 3)
    if needs_tokens(pair):
        with pytest.raises(hookwire.TokensNeededError, match="per-layer embeddings"):
            pair.remote(stream(pair, 1), start_at_layer=layer)
        return
    residual = stream(pair, 1)
    last = pair.remote.cfg.n_layers - 1

    def body(model: Any) -> Any:
        hooks = [(f"blocks.{last}.mlp.hook_out", edit_in_place)]
        plain = model(residual, start_at_layer=layer)
        changed = model.run_with_hooks(residual, fwd_hooks=hooks, start_at_layer=layer)
        logits, cache = model.run_with_cache(
            residual, start_at_layer=layer, names_filter=lambda name: name.endswith(".hook_in")
        )
        streams = {name: cache[name] for name in cache if "." not in name[9:]}
        return plain, changed, logits, streams

    plain, changed, logits, streams = pair.same(body)
    assert torch.equal(plain, logits)
    assert not torch.equal(plain, changed)
    start = layer % pair.remote.cfg.n_layers
    assert next(iter(streams)) == f"blocks.{start}.hook_in"
    assert torch.equal(streams[f"blocks.{start}.hook_in"], residual)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_the_stream_of_a_run_goes_on_as_the_run(pair: Pair, layer: int) -> None:
    tokens = torch.cat([pair.tokens(3), pair.tokens(4)])
    logits, cache = pair.remote.run_with_cache(tokens)
    residual = cache[f"blocks.{layer}.hook_in"]
    got, since = pair.remote.run_with_cache(residual, start_at_layer=layer, tokens=tokens)
    assert torch.equal(got, logits)
    assert f"blocks.{layer}.hook_in" in since
    assert not [name for name in since if name.startswith(("embed", "blocks.0."))] or layer == 0
    assert all(torch.equal(since[name], cache[name]) for name in since)
    assert {"ln_final.hook_out", "rotary_emb.full_attention.hook_cos"} <= set(since)
    end = pair.remote.cfg.n_layers
    stopped = pair.remote(residual, start_at_layer=layer, stop_at_layer=end, tokens=tokens)
    assert torch.equal(stopped, cache["ln_final.hook_in"])


def test_padded_rows_and_the_loss(pair: Pair) -> None:
    prompts = [pair.tokens(3)[0].tolist(), pair.tokens(4, 4)[0].tolist()]
    for side in ("left", "right"):
        both, cache = pair.remote.run_with_cache(
            prompts, padding_side=side, return_type="both", names_filter="blocks.1.hook_in"
        )
        got = pair.remote(
            cache["blocks.1.hook_in"],
            start_at_layer=1,
            tokens=prompts,
            padding_side=side,
            return_type="both",
        )
        assert torch.equal(got[0], both[0])
        assert torch.equal(got[1], both[1])


def test_without_tokens_there_is_no_loss(pair: Pair) -> None:
    with pytest.raises(hookwire.TokensNeededError):
        pair.remote(stream(pair, 1), start_at_layer=1, return_type="loss")


def test_names_before_the_start_are_refused_and_left_out(pair: Pair) -> None:
    residual, more = stream(pair, 1), alongside(pair)

    def run(names_filter: Any, **options: Any) -> Any:
        _, cache = pair.remote.run_with_cache(
            residual, names_filter=names_filter, start_at_layer=1, **more, **options
        )
        return cache

    for name in ("blocks.0.hook_out", "hook_embed", "blocks.0.attn.hook_q"):
        with pytest.raises(hookwire.NeverFiresError, match="start_at_layer=1"):
            run(name)
        with pytest.raises(hookwire.NeverFiresError, match="start_at_layer=1"):
            run(["blocks.1.hook_in", name])
        for what in (edit_in_place, hookwire.ops.zero()):
            with pytest.raises(hookwire.NeverFiresError, match="start_at_layer=1"):
                pair.remote.run_with_hooks(
                    residual, fwd_hooks=[(name, what)], start_at_layer=1, **more
                )
    with pytest.raises(hookwire.NeverFiresError):
        run("blocks.0.*")
    with pytest.raises(hookwire.NeverFiresError):
        run(lambda name: "embed" in name and "unembed" not in name and "rotary" not in name)
    with pytest.raises(hookwire.HookNotFoundError):
        run("blocks.1.hook_inn")
    last = pair.remote.cfg.n_layers
    assert list(run("blocks.*.hook_out")) == [f"blocks.{at}.hook_out" for at in range(1, last)]
    assert list(run(["blocks.*.hook_out"], stop_at_layer=2)) == ["blocks.1.hook_out"]
    assert set(run("blocks.1.hook_resid_pre")) == {"blocks.1.hook_resid_pre", "blocks.1.hook_in"}
    with pytest.raises(hookwire.NeverFiresError, match="before"):
        run("blocks.1.hook_in", moment="before")
    seen = []
    pair.remote.run_with_hooks(
        residual,
        fwd_hooks=[("blocks.*.hook_in", lambda tensor, hook: seen.append(hook.name))],
        start_at_layer=1,
        **more,
    )
    assert seen == [f"blocks.{at}.hook_in" for at in range(1, last)]


def test_a_hook_at_the_start_changes_what_was_given(pair: Pair) -> None:
    residual, more = stream(pair, 1), alongside(pair)
    got = pair.remote.run_with_hooks(
        residual,
        fwd_hooks=[("blocks.1.hook_in", lambda tensor, hook: tensor * 2)],
        start_at_layer=1,
        **more,
    )
    assert torch.equal(got, pair.remote(residual * 2, start_at_layer=1, **more))


def test_keys_and_values_of_an_earlier_layer_are_those_of_the_tokens(e_type: Pair) -> None:
    model, tokens = e_type.remote, e_type.tokens()
    source = model.cfg.key_value_sources[-1]
    assert source is not None
    last = model.cfg.n_layers - 1
    _, cache = model.run_with_cache(tokens)
    _, since = model.run_with_cache(
        cache[f"blocks.{last}.hook_in"] * 2, start_at_layer=last, tokens=tokens
    )
    for name in ("hook_rot_k", "hook_rot_v"):
        at = f"blocks.{last}.attn.{name}"
        assert torch.equal(since[at], cache[f"blocks.{source}.attn.{name}"])
    assert not torch.equal(since[f"blocks.{last}.hook_out"], cache[f"blocks.{last}.hook_out"])


def test_what_cannot_be_a_start_is_refused(pair: Pair) -> None:
    model, more = pair.remote, alongside(pair)
    residual = stream(pair, 1)
    for bad in (pair.tokens(), "w4 w5", [[2, 4]], residual[..., :-1], residual[0, 0]):
        with pytest.raises(hookwire.ValueShapeError, match="residual stream"):
            model(bad, start_at_layer=1, **more)
    with pytest.raises(hookwire.ValueShapeError, match="positions"):
        model(residual[:, 1:], start_at_layer=1, tokens=pair.tokens())
    for layer in (model.cfg.n_layers, -model.cfg.n_layers - 1):
        with pytest.raises(hookwire.StopOutOfRangeError):
            model(residual, start_at_layer=layer, **more)
    with pytest.raises(ValueError, match="cannot stop"):
        model(residual, start_at_layer=1, stop_at_layer=1, **more)
    with pytest.raises(ValueError, match="start_at_layer"):
        model(pair.tokens(), tokens=pair.tokens())
    with pytest.raises(hookwire.ValueNotFiniteError):
        model(residual * float("nan"), start_at_layer=1, **more)
