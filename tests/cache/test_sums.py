"""The parts sum to the whole: at every layer, before every MLP, behind the norm, in the logits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hookwire import errors, ops

from tests.cache.conftest import Served, relative

# Relative, in float32.
TOLERANCE = 1e-5


def places(served: Served) -> Iterator[tuple[int, bool, str, str, str]]:
    """Every layer input and MLP input: the stream there, and what the norm makes of it."""
    n_layers = served.model.cfg.n_layers
    for layer in range(n_layers):
        block = f"blocks.{layer}"
        yield layer, False, f"{block}.hook_resid_pre", f"{block}.ln1.hook_out", f"{block}.ln1"
        yield layer, True, f"{block}.hook_resid_mid", f"{block}.ln2.hook_out", f"{block}.ln2"
    last = f"blocks.{n_layers - 1}.hook_resid_post"
    yield n_layers, False, last, "ln_final.hook_out", "ln_final"


def test_by_layer(served: Served) -> None:
    cache = served.cache
    for layer, mlp_input, stream, normed, _ in places(served):
        parts = cache.decompose_resid(layer, mlp_input)
        assert relative(parts.sum(0), cache[stream]) < TOLERANCE, stream
        through = cache.decompose_resid(layer, mlp_input, apply_ln=True)
        assert relative(through.sum(0), cache[normed]) < TOLERANCE, normed


@pytest.mark.parametrize("expand_neurons", [True, False])
def test_by_head_and_neuron(served: Served, expand_neurons: bool) -> None:
    cache = served.cache
    direction = torch.randn(served.model.cfg.d_model, 3)
    for layer, mlp_input, stream, normed, _ in places(served):
        options = {"layer": layer, "mlp_input": mlp_input, "expand_neurons": expand_neurons}
        parts, labels = cache.get_full_resid_decomposition(return_labels=True, **options)
        assert len(labels) == len(parts) == len(set(labels))
        assert relative(parts.sum(0), cache[stream]) < TOLERANCE, stream
        through = cache.get_full_resid_decomposition(apply_ln=True, **options)
        assert relative(through.sum(0), cache[normed]) < TOLERANCE, normed
        for apply_ln, whole in ((False, cache[stream]), (True, cache[normed])):
            projected = cache.get_full_resid_decomposition(
                apply_ln=apply_ln, project_output_onto=direction, **options
            )
            assert relative(projected.sum(0), whole @ direction) < TOLERANCE


def test_heads_and_neurons_of_a_layer_sum_to_what_it_adds(served: Served) -> None:
    cache, cfg = served.cache, served.model.cfg
    for layer in range(cfg.n_layers):
        block = f"blocks.{layer}"
        cache_heads, labels = cache.stack_head_results(layer + 1, return_labels=True)
        mine = [i for i, label in enumerate(labels) if label.startswith(f"L{layer}H")]
        assert len(mine) == cfg.n_heads
        heads = cache_heads[mine].sum(0)
        scalar = cfg.layer_scalars[layer]
        assert relative(heads, cache["attn_out", layer] * scalar) < TOLERANCE
        neurons = cache.get_neuron_results(layer)
        assert neurons.shape[-2:] == (cfg.layers[layer].d_mlp, cfg.d_model)
        if cfg.n_experts:
            # The MLP's share of what goes through the last norm together with the experts'.
            scale = cache[f"{block}.ln2_post.hook_scale"]
            weight = served.model.weights[f"{block}.ln2_post.weight"]
            dense = cache[f"{block}.post_feedforward_layernorm_1.hook_out"] / scale * weight
            assert relative(neurons.sum(-2), dense) < TOLERANCE
        else:
            assert relative(neurons.sum(-2), cache["mlp_out", layer]) < TOLERANCE


def test_the_remainder_fills_what_heads_and_neurons_leave(served: Served) -> None:
    cache, n_layers = served.cache, served.model.cfg.n_layers
    for layer in range(1, n_layers + 1):
        whole = cache["resid_post", layer - 1]
        heads, labels = cache.stack_head_results(layer, return_labels=True, incl_remainder=True)
        assert labels[-1] == "remainder"
        assert relative(heads.sum(0), whole) < TOLERANCE
        neurons = cache.stack_neuron_results(layer, incl_remainder=True)
        assert relative(neurons.sum(0), whole) < TOLERANCE
        normed = "ln_final.hook_out" if layer == n_layers else f"blocks.{layer}.ln1.hook_out"
        heads = cache.stack_head_results(layer, incl_remainder=True, apply_ln=True)
        assert relative(heads.sum(0), cache[normed]) < TOLERANCE
        neurons = cache.stack_neuron_results(layer, incl_remainder=True, apply_ln=True)
        assert relative(neurons.sum(0), cache[normed]) < TOLERANCE
    mid = cache.stack_neuron_results(1, incl_remainder=True, mlp_input=True)
    assert relative(mid.sum(0), cache["resid_mid", 1]) < TOLERANCE


def test_attributions_sum_to_the_logit_before_the_softcap(served: Served) -> None:
    cache = served.cache
    parts = cache.decompose_resid()
    one, other = 7, 12
    attributed = cache.logit_attrs(parts, one)
    assert relative(attributed.sum(0), cache["hook_unembed"][..., one]) < TOLERANCE
    difference = cache.logit_attrs(parts, one, other).sum(0)
    want = cache["hook_unembed"][..., one] - cache["hook_unembed"][..., other]
    assert relative(difference, want) < TOLERANCE
    full = cache.get_full_resid_decomposition()
    assert relative(cache.logit_attrs(full, one).sum(0), attributed.sum(0)) < TOLERANCE


def test_in_bfloat16_they_sum_within_its_rounding(bfloat16: Served) -> None:
    cache = bfloat16.cache
    for layer, mlp_input, stream, _, _ in places(bfloat16):
        parts = cache.decompose_resid(layer, mlp_input)
        assert parts.dtype == torch.bfloat16
        assert relative(parts.float().sum(0), cache[stream]) < 0.01, stream
        full = cache.get_full_resid_decomposition(layer, mlp_input)
        assert relative(full.float().sum(0), cache[stream]) < 0.01, stream


def test_biases_are_a_part(biased: Served) -> None:
    cache, cfg = biased.cache, biased.model.cfg
    for layer, mlp_input, stream, normed, _ in places(biased):
        parts, labels = cache.get_full_resid_decomposition(layer, mlp_input, return_labels=True)
        assert relative(parts.sum(0), cache[stream]) < TOLERANCE, stream
        assert labels[-1] == "bias"
        assert bool(parts[-1].any()) == (layer > 0 or mlp_input)
        through = cache.get_full_resid_decomposition(layer, mlp_input, apply_ln=True)
        assert relative(through.sum(0), cache[normed]) < TOLERANCE, normed
    cache.compute_head_results()
    for layer in range(cfg.n_layers):
        heads = cache["result", layer].sum(-2) + biased.model.b_O[layer]
        assert relative(heads, cache[f"blocks.{layer}.attn.hook_out"]) < TOLERANCE


def test_interventions_on_parts_stay_in_the_sum(e_type: Served) -> None:
    inside = [
        ("blocks.0.attn.hook_z", ops.zero(head=1)),
        ("blocks.1.attn.hook_out", ops.scale(2.0, pos=3)),
        ("blocks.2.hook_ple_out", ops.scale(3.0)),
        ("blocks.3.mlp.hook_post", ops.scale(0.5)),
    ]
    _, cache = e_type.model.run_with_cache(e_type.tokens, fwd_hooks=inside[:1] + inside[2:])
    for parts in (cache.decompose_resid(), cache.get_full_resid_decomposition()):
        assert relative(parts.sum(0), cache["resid_post", -1]) < TOLERANCE
    # A write behind the heads is in no head; it is in what the layer adds.
    _, cache = e_type.model.run_with_cache(e_type.tokens, fwd_hooks=inside)
    assert relative(cache.decompose_resid().sum(0), cache["resid_post", -1]) < TOLERANCE
    with pytest.raises(errors.DecompositionError, match="belongs to no part"):
        cache.get_full_resid_decomposition()
