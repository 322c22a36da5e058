"""The residual stream, taken apart by layer.

A Gemma 4 block computes

    resid_mid  = resid_pre + attn_out
    resid_post = (resid_mid + mlp_out + ple_out) × layer_scalar

with ple_out where the model has per-layer embeddings. So whatever a layer adds, and what was there
before it, is multiplied by that layer's scalar on its way on: a part that entered at layer l
reaches the input of layer L multiplied by the scalars of the layers l … L - 1.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from hookwire import errors
from hookwire.cache import arrays
from hookwire.cache.captured import Captured
from hookwire.cache.slices import Slice
from hookwire.facts import selection

Mode = Literal["all", "mlp", "attn"]

# How far the parts of a run may be from their whole, in units of the dtype's last place at the size
# of the parts, times the root of the number of layers. Each layer rounds the stream at most three
# times, by 0.3 units each (root mean square); what this is to find (a stream that a hook has
# written to) is far larger.
_ROUNDING = 4.0


def layer_number(cache: Captured, layer: int | None) -> int:
    """A layer in [0, n_layers], where None and -1 mean n_layers: what enters the final norm.

    Raises:
        LayerOutOfRangeError: outside of that (it is a ValueError).
        ArgumentTypeError: no number.
    """
    n_layers = cache.cfg.n_layers
    if layer is None or layer == -1:
        return n_layers
    layer = selection.integer(layer, "layer", "a number or None")
    if not 0 <= layer <= n_layers:
        raise errors.LayerOutOfRangeError(
            f"layer {layer} is not in [0, {n_layers}], and not None or -1, which mean {n_layers}: "
            "the input of the final norm"
        )
    return layer


def own_layer(cache: Captured, layer: int) -> int:
    """A layer that the model has; negative counts from the last.

    Raises:
        LayerOutOfRangeError: it has none of this number (it is a ValueError).
        ArgumentTypeError: no number.
    """
    n_layers = cache.cfg.n_layers
    number = selection.integer(layer, "layer", "a number")
    if not -n_layers <= number < n_layers:
        raise errors.LayerOutOfRangeError(
            f"layer {number} is not one of the model's {n_layers}, which are 0 to {n_layers - 1}"
        )
    return number % n_layers


def factor(cache: Captured, since: int, layer: int) -> float:
    """What is left at the input of `layer` of something that layer `since` added: a factor."""
    return math.prod(cache.cfg.layer_scalars[since:layer])


def stream_name(cache: Captured, layer: int, mlp_input: bool) -> str:
    """The hook point of the stream at the input of a layer, or of its MLP."""
    if mlp_input:
        return f"blocks.{layer}.hook_resid_mid"
    if layer == cache.cfg.n_layers:
        return f"blocks.{layer - 1}.hook_resid_post"
    return f"blocks.{layer}.hook_resid_pre"


def stream_key(layer: int) -> tuple[str, int]:
    """What a cache has the stream at the input of a layer under, [0, n_layers]."""
    return ("resid_post", layer - 1) if layer else ("resid_pre", 0)


def accumulated(
    cache: Captured, layer: int, incl_mid: bool, mlp_input: bool, pos_slice: Slice
) -> tuple[Any, list[str]]:
    """The stream at the input of each layer up to `layer`, [part, batch, pos, d_model]."""
    n_layers = cache.cfg.n_layers
    names, labels = [], []
    for at in range(layer + 1):
        names.append(stream_name(cache, at, False))
        labels.append("final_post" if at == n_layers else f"{at}_pre")
        if at < n_layers and ((incl_mid and at < layer) or (mlp_input and at == layer)):
            names.append(stream_name(cache, at, True))
            labels.append(f"{at}_mid")
    return arrays.stack([pos_slice.apply(x, dim=-2) for x in cache.need(names)]), labels


def decompose(
    cache: Captured,
    layer: int,
    mlp_input: bool,
    mode: Mode,
    pos_slice: Slice,
    incl_embeds: bool,
) -> tuple[Any, list[str]]:
    """What each layer's parts contribute to the stream at the input of `layer`.

    Returns:
        [part, batch, pos, d_model] and the labels.
    """
    selection.one_of(mode, ("all", "mlp", "attn"), "mode")
    parts: list[tuple[str, str, float]] = []
    if incl_embeds:
        parts.append(("embed", "hook_embed", factor(cache, 0, layer)))
    for at in range(layer):
        left = factor(cache, at, layer)
        if mode != "mlp":
            parts.append((f"{at}_attn_out", f"blocks.{at}.hook_attn_out", left))
        if mode != "attn":
            parts.append((f"{at}_mlp_out", f"blocks.{at}.hook_mlp_out", left))
        if mode == "all" and cache.cfg.d_per_layer_input:
            parts.append((f"{at}_ple_out", f"blocks.{at}.hook_ple_out", left))
    if mlp_input and mode != "mlp":
        parts.append((f"{layer}_attn_out", f"blocks.{layer}.hook_attn_out", 1.0))
    labels = [label for label, _, _ in parts]
    if not parts:
        return nothing(cache, pos_slice), labels
    tensors = cache.need([name for _, name, _ in parts])
    stack = arrays.stack(
        [
            arrays.times(pos_slice.apply(tensor, dim=-2), left)
            for tensor, (_, _, left) in zip(tensors, parts, strict=True)
        ]
    )
    if mode == "all" and incl_embeds:
        check_sum(cache, stack, layer, mlp_input, pos_slice)
    return stack, labels


def nothing(cache: Captured, pos_slice: Slice, width: int | None = None) -> Any:
    """A stack without parts, [0, batch, pos, d_model] (or another width)."""
    names = ("hook_embed", *(stream_name(cache, at, False) for at in range(cache.cfg.n_layers + 1)))
    like = next((x for x in map(cache.find, names) if x is not None), None)
    if like is None:
        like = cache.need(names[:1])[0]
    like = pos_slice.apply(like, dim=-2)
    return arrays.empty((0, *like.shape[:-1], width or like.shape[-1]), like)


def check_sum(cache: Captured, stack: Any, layer: int, mlp_input: bool, pos_slice: Slice) -> None:
    """Holds the sum of a complete stack against the stream, where that was captured.

    Raises:
        DecompositionError: they differ by more than rounding explains.
    """
    name = stream_name(cache, layer, mlp_input)
    whole = cache.find(name)
    if whole is None:
        return
    whole = arrays.float32(pos_slice.apply(whole, dim=-2))
    size = arrays.norm(whole)
    missing = arrays.norm(arrays.float32(stack).sum(0) - whole)
    # The numbers were rounded as the server computed, whatever dtype they were sent in.
    unit = max(arrays.eps(stack), arrays.eps_of(cache.receipt.dtype))
    allowed = _ROUNDING * unit * (1 + layer) ** 0.5 * max(size, arrays.norm(stack))
    if missing <= allowed or not math.isfinite(size):
        return
    raise errors.DecompositionError(
        f"the parts miss {name} by {missing / size:.2%}, which rounding does not explain. If this "
        "run had hooks at the residual stream, or between these parts and the stream, then what "
        "they changed belongs to no part; decompose a run without them",
        metadata={"hook": name},
    )
