"""Single parts against a direct computation from Transformers' weights, in float64."""

from __future__ import annotations

import math

import torch

from tests.cache.conftest import Served, relative

TOLERANCE = 1e-5


def rms_norm_of_part(
    part: torch.Tensor, whole: torch.Tensor, weight: torch.Tensor, eps: float
) -> torch.Tensor:
    scale = (whole.double().pow(2).mean(-1, keepdim=True) + eps).sqrt()
    return part / scale * weight


def carried(served: Served, layer: int, to: int) -> float:
    layers = served.reference.model.model.language_model.layers
    return math.prod(float(layers[at].layer_scalar) for at in range(layer, to))


def test_heads(served: Served) -> None:
    cache, cfg, weights = served.cache, served.model.cfg, served.weights
    to = cfg.n_layers
    stack, labels = cache.stack_head_results(return_labels=True)
    for layer in range(to):
        width = cfg.layers[layer].d_head
        out = weights[f"layers.{layer}.self_attn.o_proj.weight"]
        z = cache["z", layer].double()
        norm = weights[f"layers.{layer}.post_attention_layernorm.weight"]
        for head in range(cfg.n_heads):
            part = z[..., head, :] @ out[:, head * width : (head + 1) * width].T
            whole = cache[f"blocks.{layer}.attn.hook_out"]
            want = rms_norm_of_part(part, whole, norm, cfg.eps) * carried(served, layer, to)
            got = stack[labels.index(f"L{layer}H{head}")]
            assert relative(got, want) < TOLERANCE, (layer, head)


def test_neurons(served: Served) -> None:
    cache, cfg, weights = served.cache, served.model.cfg, served.weights
    to = cfg.n_layers
    neurons = [0, 5, 31]
    stack, labels = cache.stack_neuron_results(-1, neuron_slice=neurons, return_labels=True)
    for layer in range(to):
        module = f"layers.{layer}"
        for neuron in neurons:
            part = (
                cache["post", layer].double()[..., neuron, None]
                * weights[f"{module}.mlp.down_proj.weight"].T[neuron]
            )
            whole = cache[f"blocks.{layer}.mlp.hook_out"]
            if cfg.n_experts:
                norm = weights[f"{module}.post_feedforward_layernorm_1.weight"]
                part = rms_norm_of_part(part, whole, norm, cfg.eps)
                whole = (
                    cache[f"blocks.{layer}.post_feedforward_layernorm_1.hook_out"]
                    + cache[f"blocks.{layer}.post_feedforward_layernorm_2.hook_out"]
                )
            norm = weights[f"{module}.post_feedforward_layernorm.weight"]
            want = rms_norm_of_part(part, whole, norm, cfg.eps) * carried(served, layer, to)
            got = stack[labels.index(f"L{layer}N{neuron}")]
            assert relative(got, want) < TOLERANCE, (layer, neuron)


def test_layers(served: Served) -> None:
    cache, cfg = served.cache, served.model.cfg
    to = cfg.n_layers - 1
    stack, labels = cache.decompose_resid(to, return_labels=True)
    kinds = ("attn_out", "mlp_out", "ple_out") if cfg.d_per_layer_input else ("attn_out", "mlp_out")
    assert labels == ["embed", *(f"{at}_{kind}" for at in range(to) for kind in kinds)]
    for label, part in zip(labels[1:], stack[1:], strict=True):
        layer, kind = label.split("_", 1)
        want = cache[kind, int(layer)].double() * carried(served, int(layer), to)
        assert relative(part, want) < TOLERANCE, label
    assert relative(stack[0], cache["embed"].double() * carried(served, 0, to)) < TOLERANCE


def test_experts(served: Served) -> None:
    cache, cfg, weights = served.cache, served.model.cfg, served.weights
    stack, labels = cache.get_full_resid_decomposition(return_labels=True)
    names = [label for label in labels if label.endswith("_experts_out")]
    assert names == [f"{at}_experts_out" for at in range(cfg.n_layers if cfg.n_experts else 0)]
    for layer in range(len(names)):
        one, two = (
            cache[f"blocks.{layer}.post_feedforward_layernorm_{n}.hook_out"].double()
            for n in (1, 2)
        )
        norm = weights[f"layers.{layer}.post_feedforward_layernorm.weight"]
        want = rms_norm_of_part(two, one + two, norm, cfg.eps)
        want = want * carried(served, layer, cfg.n_layers)
        assert relative(stack[labels.index(names[layer])], want) < TOLERANCE


def test_a_head_moved_into_the_stream_is_what_it_adds(e_type: Served) -> None:
    # At the last layer, nothing comes between attention's sum and the stream but the scale.
    from hookwire import ops

    layer, head = e_type.model.cfg.n_layers - 1, 1
    part = (
        e_type.cache.stack_head_results(layer + 1)[layer * e_type.model.cfg.n_heads + head]
        / e_type.model.cfg.layer_scalars[layer]
    )
    _, cache = e_type.model.run_with_cache(
        e_type.tokens,
        names_filter="**",
        fwd_hooks=[
            (f"blocks.{layer}.attn.hook_z", ops.zero(head=head)),
            # With the scale that it had, the norm is linear.
            (
                f"blocks.{layer}.ln1_post.hook_scale",
                ops.set(e_type.cache[f"blocks.{layer}.ln1_post.hook_scale"]),
            ),
        ],
    )
    lost = e_type.cache["resid_mid", layer] - cache["resid_mid", layer]
    assert relative(lost, part) < 1e-4
