"""Which names of hook points a word may become."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LAYER = re.compile(r"^blocks\.\d+\.")


def matching(names: Iterable[str], word: str) -> list[str]:
    """The names that begin with a word, or else those that have it as a part.

    A part may stand alone, "pattern", or behind the beginning of a name, "blocks.3.pattern". Where
    no layer is given, one glob stands for the names of all layers: "blocks.*.attn.hook_pattern".

    Args:
        names: of the hook points, in the order of the pass.
        word: what has been typed.
    """
    every = list(names)
    globs = list(dict.fromkeys(_LAYER.sub("blocks.*.", name) for name in every))
    known = [*globs, *every] if "*" in word else every
    found = [name for name in known if name.startswith(word)]
    if found or not word:
        return list(dict.fromkeys(found))
    begin, _, part = word.rpartition(".")
    while True:
        stem = f"{begin}." if begin else ""
        pool = [name for name in (known if begin else globs) if name.startswith(stem)]
        found = [name for name in pool if part in name[len(stem) :]]
        if found or not begin:
            return list(dict.fromkeys(found))
        begin, _, more = begin.rpartition(".")
        part = f"{more}.{part}"
