"""What single heads, neurons and experts contribute to the residual stream.

On a Gemma 4 what attention and the MLP give goes through a norm before it is added: `ln1_post` and
`ln2_post` (with experts, the MLP's own part through `post_feedforward_layernorm_1` first, the
experts' through `post_feedforward_layernorm_2`). With the scale that such a norm had, it is linear,
so a head's part of `attn_out` is its result through `ln1_post`, and these parts sum to `attn_out`.
"""

from __future__ import annotations

from typing import Any

from hookwire import errors
from hookwire.cache import arrays, norms, residual
from hookwire.cache.captured import Captured
from hookwire.cache.slices import Slice


def head_result(cache: Captured, layer: int) -> Any:
    """Each head's own output, [batch, pos, head, d_model], before ln1_post.

    As captured, or from the captured `hook_z` and the layer's W_O.
    """
    found = cache.find(f"blocks.{layer}.attn.hook_result")
    if found is not None:
        return found
    z = cache.find(f"blocks.{layer}.attn.hook_z")
    if z is None:
        names = f"blocks.{layer}.attn.hook_z or blocks.{layer}.attn.hook_result"
        raise errors.HookNotFoundError(
            f"{names} is needed, and neither was captured: add one to names_filter",
            metadata={"hook": f"blocks.{layer}.attn.hook_z"},
        )
    return arrays.einsum("...hd,hdm->...hm", z, arrays.matching(cache.model.W_O[layer], z))


def heads(
    cache: Captured, layers: int, layer: int, pos_slice: Slice
) -> tuple[list[Any], list[str]]:
    """The heads' parts of the stream at the input of `layer`, of the layers below `layers`.

    Returns:
        For each layer [head, batch, pos, d_model], and the labels of all.
    """
    parts, labels = [], []
    for at in range(layers):
        result = pos_slice.apply(head_result(cache, at), dim=-3)
        through = norms.linear(cache, f"blocks.{at}.ln1_post", pos_slice)
        part = through(arrays.move_axis(result, -2, 0))
        parts.append(arrays.times(part, residual.factor(cache, at, layer)))
        labels += [f"L{at}H{head}" for head in range(cache.cfg.n_heads)]
    return parts, labels


def head_biases(cache: Captured, layers: int, layer: int, like: Any, pos_slice: Slice) -> Any:
    """The part of the output projections' biases, [1, batch, pos, d_model]; 0 where they have none.

    Args:
        cache: of the run.
        layers: of the layers below this one.
        layer: at the input of this one.
        like: [part, batch, pos, d_model].
        pos_slice: as applied to `like`.
    """
    total = arrays.times(like[:1], 0.0) if len(like) else arrays.empty((1, *like.shape[1:]), like)
    for at in range(layers):
        try:
            bias = arrays.matching(cache.weights.shared(f"blocks.{at}.attn.o.bias"), like)
        except errors.AbsentWeightError:
            # One setting of the checkpoint for all layers.
            return total
        part = norms.linear(cache, f"blocks.{at}.ln1_post", pos_slice)(bias)
        total = total + arrays.times(part, residual.factor(cache, at, layer))
    return total


def mlp_norms(cache: Captured, layer: int, pos_slice: Slice) -> norms.Linear:
    """What the dense MLP's output goes through before it is added."""
    block = f"blocks.{layer}"
    last = norms.linear(cache, f"{block}.ln2_post", pos_slice)
    if not cache.cfg.n_experts:
        return last
    return norms.linear(cache, f"{block}.post_feedforward_layernorm_1", pos_slice).then(last)


def neurons(
    cache: Captured,
    layer: int,
    neuron_slice: Slice,
    pos_slice: Slice,
    project: Any = None,
    then: norms.Linear | None = None,
) -> Any:
    """The neurons' parts of `mlp_out` of their own layer, [batch, pos, neuron, d_model].

    Args:
        cache: of the run.
        layer: theirs.
        neuron_slice: which.
        pos_slice: at which positions.
        project: [d_model, output]: the last axis becomes this product, without the larger tensor.
        then: a norm that follows.
    """
    acts = pos_slice.apply(cache.need([f"blocks.{layer}.mlp.hook_post"])[0], dim=-2)
    weight = arrays.matching(cache.weights.shared(f"blocks.{layer}.mlp.out.weight"), acts)
    weight = arrays.float32(neuron_slice.apply(weight.T, dim=0))  # [neuron, d_model]
    through = mlp_norms(cache, layer, pos_slice)
    if then is not None:
        through = through.then(then)
    weight = weight * arrays.matching(through.gain, weight)
    scaled = neuron_slice.apply(arrays.float32(acts) / through.divisor, dim=-1)
    if project is None:
        return arrays.cast(scaled[..., None] * weight, acts)
    projected = weight @ arrays.matching(project, weight)
    if project.ndim == 1:
        return arrays.cast(scaled * projected, acts)
    return arrays.cast(scaled[..., None] * projected, acts)


def neuron_count(cache: Captured, layer: int) -> int:
    """d_mlp of a layer."""
    return int(cache.cfg.layers[layer].d_mlp)


def neuron_stack(
    cache: Captured,
    layer: int,
    neuron_slice: Slice,
    pos_slice: Slice,
    project: Any,
    then: norms.Linear | None,
) -> tuple[list[Any], list[str]]:
    """The neurons' parts of the stream at the input of `layer`, of all layers below it.

    Returns:
        For each layer [neuron, batch, pos, d_model or output], and the labels of all.
    """
    parts, labels = [], []
    for at in range(layer):
        part = neurons(cache, at, neuron_slice, pos_slice, project, then)
        part = arrays.times(part, residual.factor(cache, at, layer))
        parts.append(arrays.move_axis(part, -2, 0))
        labels += [f"L{at}N{n}" for n in neuron_slice.indices(neuron_count(cache, at))]
    return parts, labels


def experts(cache: Captured, layer: int, pos_slice: Slice) -> tuple[list[Any], list[str]]:
    """The experts' parts of the stream at the input of `layer`, one of each layer below it.

    Returns:
        For each layer [1, batch, pos, d_model], and the labels.
    """
    if not cache.cfg.n_experts:
        return [], []
    names = [f"blocks.{at}.post_feedforward_layernorm_2.hook_out" for at in range(layer)]
    parts = []
    for at, out in enumerate(cache.need(names)):
        part = norms.linear(cache, f"blocks.{at}.ln2_post", pos_slice)(
            pos_slice.apply(out, dim=-2)[None]
        )
        parts.append(arrays.times(part, residual.factor(cache, at, layer)))
    return parts, [f"{at}_experts_out" for at in range(layer)]


def per_layer_inputs(cache: Captured, layer: int, pos_slice: Slice) -> tuple[list[Any], list[str]]:
    """The per-layer embeddings' parts, as `experts`."""
    if not cache.cfg.d_per_layer_input:
        return [], []
    outs = cache.need([f"blocks.{at}.hook_ple_out" for at in range(layer)])
    parts = [
        arrays.times(pos_slice.apply(out, dim=-2)[None], residual.factor(cache, at, layer))
        for at, out in enumerate(outs)
    ]
    return parts, [f"{at}_ple_out" for at in range(layer)]
