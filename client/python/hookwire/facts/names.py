"""Short names of activations, as TransformerLens has them.

`("pattern", 5)` is `blocks.5.attn.hook_pattern`; `("scale", 4, "ln1")`, and `"scale4ln1"`, are
`blocks.4.ln1.hook_scale`; `"embed"` is `hook_embed`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from hookwire import errors
from hookwire.errors import arguments

_SYNONYMS = {
    "attn": "pattern",
    "attn_logits": "attn_scores",
    "query": "q",
    "key": "k",
    "value": "v",
    "mlp_pre": "pre",
    "mlp_mid": "mid",
    "mlp_post": "post",
}
# Which component of a block has the activation, where its name alone says so.
_COMPONENT = {
    **dict.fromkeys(
        ["q", "k", "v", "z", "rot_q", "rot_k", "result", "pattern", "attn_scores"], "attn"
    ),
    **dict.fromkeys(["pre", "post", "mid", "pre_linear"], "mlp"),
}
_COMPONENT_SYNONYMS = {
    "a": "attn",
    "attention": "attn",
    "m": "mlp",
    "b": "",
    "block": "",
    "blocks": "",
}
_OF_NORMS = ("scale", "normalized")


@arguments.checked("hookwire.get_act_name")
def get_act_name(name: str, layer: int | str | None = None, layer_type: str | None = None) -> str:
    """Returns the full name of an activation, as TransformerLens's function of this name does.

    Args:
        name: a short name, which may include the layer and the component ("k6", "scale4ln1"). A
            full name is returned as it is.
        layer: the layer. Default: the one in `name`, or none.
        layer_type: the component, if several have the name: "ln1", "attn", …. Default: the usual
            one.

    Returns:
        Such as "blocks.6.attn.hook_k". It is not checked that the model has it.

    Raises:
        ArgumentTypeError: `name` is not a string.
    """
    if not isinstance(name, str):
        raise errors.ArgumentTypeError(
            'name must be the short name of an activation, such as "resid_post", not '
            f"{errors.shown(name)}"
        )
    if layer is None and layer_type is None and ("." in name or name.startswith("hook_")):
        return name
    # The first number in a name is the layer; what follows it is the component.
    parts = re.match(r"([a-z]+)(\d+)(.*)", name)
    if parts is not None:
        name, layer, layer_type = parts.groups()
    name = _SYNONYMS.get(name, name)
    component = _COMPONENT.get(name)
    if component is None:
        component = _COMPONENT_SYNONYMS.get(layer_type or "", layer_type or "")
    block = "" if layer is None else f"blocks.{layer}."
    full = f"{block}{component + '.' if component else ''}hook_{name}"
    return f"ln_final.{full}" if layer is None and name in _OF_NORMS else full


_IN_A_LAYER = re.compile(r"blocks\.(\d+)\.(?:(\w+)\.)?hook_(\w+)")


def with_short_names(names: Iterable[str]) -> list[Any]:
    """Full names, and the short names with their layers of those that have one.

    `blocks.5.attn.hook_pattern` is ("pattern", 5) too, and `blocks.4.ln1.hook_scale` ("scale", 4,
    "ln1").
    """
    full = list(names)
    short: list[Any] = []
    for name in full:
        found = _IN_A_LAYER.fullmatch(name)
        if found is not None:
            layer, component, last = int(found[1]), found[2], found[3]
            keys: list[Any] = [(last, layer), (last, layer, component)]
            short += [key for key in keys if get_act_name(*key) == name][:1]
    return [*full, *short]
