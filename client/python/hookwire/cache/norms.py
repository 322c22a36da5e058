"""Parts of a norm's input, put through the norm with the scale that the whole had.

An RMSNorm is x / scale × weight with scale = √(mean(x²) + eps). Given the scale of the whole input
it is linear, so what it makes of a sum is the sum of what it makes of the parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hookwire import errors
from hookwire.cache import arrays
from hookwire.cache.captured import Captured
from hookwire.cache.slices import Slice

# Other places at which the input of a norm stands.
_INPUTS = {
    "ln1": ("hook_resid_pre",),
    "ln1_post": ("attn.hook_out", "attn.o.hook_out"),
    "ln2": ("hook_resid_mid",),
    "post_feedforward_layernorm_1": ("mlp.hook_out", "mlp.out.hook_out"),
    "post_feedforward_layernorm_2": ("experts.hook_out",),
}


@dataclass(frozen=True)
class Linear:
    """x / divisor × gain: what norms make of a part of their input.

    Attributes:
        divisor: [batch, pos, 1], or without the axes that a slice took away; None for 1.
        gain: [d_model]; None for 1.
    """

    divisor: Any = None
    gain: Any = None

    def __call__(self, x: Any) -> Any:
        """[…, batch, pos, d_model] to the same, in the dtype of x."""
        if self.divisor is None:
            return x
        made = arrays.float32(x) / self.divisor * arrays.matching(self.gain, x)
        return arrays.cast(made, x)

    def check(self, parts: Any, norm: str) -> None:
        """Checks that parts are of the rows and positions that the divisor is of.

        Args:
            parts: […, batch, pos, d_model].
            norm: whose divisor it is, for the message.

        Raises:
            ValueShapeError: they are of others. Broadcasting would give each part several scales.
        """
        shape, ours = list(parts.shape), list(self.divisor.shape)
        try:
            fits = list(np.broadcast_shapes(shape, ours)) == shape
        except ValueError:
            fits = False
        if not fits:
            raise errors.ValueShapeError(
                f"parts of shape {shape} are not of the rows and positions {ours[:-1]} at which "
                f"{norm} has its scale: give the pos_slice and batch_slice with which the parts "
                "were made",
                metadata={"got": str(shape)},
            )

    def then(self, other: Linear) -> Linear:
        """Both, one after the other."""
        if self.divisor is None or other.divisor is None:
            return other if self.divisor is None else self
        gain = arrays.matching(self.gain, self.divisor) * arrays.matching(other.gain, self.divisor)
        return Linear(self.divisor * other.divisor, gain)


def scale(cache: Captured, norm: str) -> Any:
    """The divisor of a norm, [batch, pos, 1]: as captured, or from the norm's captured input.

    Args:
        cache: of the run.
        norm: "ln_final", "blocks.3.ln1_post", ….

    Raises:
        HookNotFoundError: neither is in the cache.
    """
    found = cache.find(f"{norm}.hook_scale")
    if found is not None:
        divisor = arrays.float32(found)
        # Padding, where all that was captured is zero, stays zero.
        return divisor + (divisor == 0)
    block, _, component = norm.rpartition(".")
    last = cache.cfg.n_layers - 1
    inputs = _INPUTS.get(component, ())
    if component == "ln2_post" and not cache.cfg.n_experts:
        inputs = ("mlp.hook_out", "mlp.out.hook_out")
    names = [f"{norm}.hook_in"] + [f"{block}.{name}" for name in inputs]
    if norm == "ln_final":
        names.append(f"blocks.{last}.hook_resid_post")
    for name in names:
        found = cache.find(name)
        if found is not None:
            return (arrays.mean_square(found) + cache.cfg.eps) ** 0.5
    raise errors.HookNotFoundError(
        f"the scale of {norm} is needed, and was not captured: add "
        f"{norm}.hook_scale to names_filter (or one of {', '.join(names)}, to compute it from)",
        metadata={"hook": f"{norm}.hook_scale"},
    )


def linear(
    cache: Captured, norm: str, pos_slice: Slice, batch_slice: Slice | None = None
) -> Linear:
    """A norm with the scale that it had in this run."""
    divisor = pos_slice.apply(scale(cache, norm), dim=-2)
    if batch_slice is not None and cache.has_batch_dim:
        divisor = batch_slice.apply(divisor)
    return Linear(divisor, cache.weights.shared(f"{norm}.weight"))


def target_norm(cache: Captured, layer: int, mlp_input: bool) -> str:
    """The norm that reads the residual stream at a layer's input.

    Raises:
        ArgumentError: `mlp_input` after the last layer.
    """
    if layer == cache.cfg.n_layers:
        if mlp_input:
            raise errors.ArgumentError(
                "mlp_input=True asks for the input of a layer's MLP, and after the last layer "
                f"there is none: give a layer in [0, {layer - 1}], or mlp_input=False"
            )
        return "ln_final"
    return f"blocks.{layer}.{'ln2' if mlp_input else 'ln1'}"


def apply_final_norm(cache: Captured, x: Any) -> Any:
    """The final norm, with a scale computed from x itself, [..., d_model]."""
    divisor = (arrays.mean_square(x) + cache.cfg.eps) ** 0.5
    return Linear(divisor, cache.weights.shared("ln_final.weight"))(x)
