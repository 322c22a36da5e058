"""Which right name somebody may have meant, or none where none is near."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

# Of the letters of a name's last part, how many must be the same, and in order.
_NEAR = 0.75
_LAYER = re.compile(r"^blocks\.\d+\.")


def nearest(
    name: str, names: Iterable[str], count: int = 3, *, of_all_layers: bool = True
) -> list[str]:
    """The names that are like this one, the nearest first; none where none is like it.

    What counts is the last part: "resid_post" of `blocks.3.hook_resid_post`. It must be the same
    but for a slip ("resid_pst"), or have the other one's words ("pos" is like "pos_slice" and
    "logits_pos"). Of names that are alike in it, those that are alike as a whole come first.

    Args:
        name: that there is not.
        names: that there are.
        count: the most to return.
        of_all_layers: where `name` is of no layer, `blocks.*.hook_resid_post` stands for those of
            all layers.
    """
    wanted, in_a_layer = name.rsplit(".", 1)[-1].lstrip("*"), bool(_LAYER.match(name))
    likeness: dict[str, float] = {}
    found: dict[str, float] = {}
    for each in names:
        last = each.rsplit(".", 1)[-1]
        if last not in likeness:
            likeness[last] = _likeness(wanted, last)
        if likeness[last] < _NEAR:
            continue
        shown = _LAYER.sub("blocks.*.", each) if of_all_layers and not in_a_layer else each
        if shown not in found:
            found[shown] = likeness[last] + _ratio(name, shown)
    return sorted(found, key=lambda each: -found[each])[:count]


def _likeness(wanted: str, other: str) -> float:
    """How like two last parts are: 1 where they are the same but for "hook_"."""
    short, name = wanted.removeprefix("hook_"), other.removeprefix("hook_")
    if not short:
        return 0.0
    if short != name and len(short) > 2 and set(short.split("_")) <= set(name.split("_")):
        return _NEAR
    likeness = _ratio(short, name)
    # "hookdict" is like "hook_dict"; but that both begin with "hook_" makes nothing alike.
    is_one = (short == wanted) != (name == other)
    return max(likeness, _ratio(wanted, other)) if is_one else likeness


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()
