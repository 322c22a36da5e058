"""Hook points as users name them."""

from __future__ import annotations

from hookwire.api.blocking.model import RemoteModel
from hookwire.facts.catalogue import HookPoint, is_glob
from hookwire.facts.names import get_act_name


def find(model: RemoteModel, wanted: str, *, parts: bool = False) -> dict[str, HookPoint]:
    """The hook points that are meant, by the names that match, in the order of the pass.

    Args:
        model: whose.
        wanted: a name, an alias, a glob, or TransformerLens's short name for one a layer, such as
            "resid_pre" or "z".
        parts: a part of names will do, if it is none of these.

    Raises:
        HookwireError: there is none; the server says why, and what is nearest.
    """
    every = model.catalogue()
    if is_glob(wanted) or wanted in every:
        names = every.match(wanted)
    else:
        names = every.match(get_act_name(wanted, "*"))
        if parts and not names:
            names = [name for name in every if wanted in name]
    if not names:
        # With a mask, for the token may be the one that pads.
        model.plan([0], wanted, attention_mask=[1], return_type=None)
    known = every.by_name()
    found: dict[HookPoint, str] = {}
    for name in names:
        found.setdefault(known[name], name)
    return {name: point for point, name in found.items()}
