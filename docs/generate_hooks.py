"""Makes the hook reference out of the catalogues of all variants.

    python docs/generate_hooks.py [--check]

Starts a daemon on a tiny random checkpoint of each kind of Gemma 4, asks for its hook points, and
writes reference/hooks.md; with --check, says whether that is fresh instead.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import hookwire  # noqa: E402 - after the path to the tests' helpers
from hookwire.facts.catalogue import HookPoint  # noqa: E402

from tests.parity.checkpoints import CHECKPOINTS, write  # noqa: E402
from tests.parity.daemon import hookwired  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "hooks.md"
# What a published Gemma 4 is called, and a checkpoint of its kind. They compute in bfloat16, so
# that what is float32 is so for good.
VARIANTS = {
    "E": ("E2B, E4B", "e-small-bf16"),
    "dense": ("31B", "dense-small-bf16"),
    "moe": ("26B-A4B", "moe-small-bf16"),
    "unified": ("12B", "unified-small-bf16"),
}
COMPUTE = "bfloat16"

HEAD = """\
# Hook reference

This page lists every hook point of every kind of Gemma 4, as the server reports them. [Hook
points](../hooks.md) says what they mean, what a write to them does, and where they differ from
TransformerLens. For the model that you are connected to, `model.hook_dict` has the hook points, and
[`hookwire hooks`](../cli.md#info-and-hooks) draws them as a tree.

The order is that of the pass. Below a name are its aliases. `TYPE` is `sliding_attention` or
`full_attention`. Shapes are those of a result, with the batch in front; `model.cfg.layers` has the
sizes that differ from layer to layer. A dtype is given where it is not the one that the server
computes in. You can write every hook point that is not marked as read only.

● in every layer, ◐ in some layers ([why](#why-some-layers-or-models-have-none)), – in no layer.

<!-- Made by docs/generate_hooks.py. -->
"""


BLOCKS = """\
All names in this table begin with `blocks.i.`, where `i` is the layer: `blocks.3.hook_resid_pre`.

"""


@dataclass
class Entry:
    """A hook point of all layers and variants.

    Attributes:
        name: with "i" for the layer.
        point: one of those that have the name.
        layers: for each variant, those that have it; {None} outside the blocks.
    """

    name: str
    point: HookPoint
    layers: dict[str, set[int | None]] = field(default_factory=lambda: defaultdict(set))


@dataclass
class Reference:
    """What the daemons say.

    Attributes:
        entries: by name, in the order of the pass.
        n_layers: of each variant's checkpoint.
        causes: why a name is absent somewhere, by name.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    n_layers: dict[str, int] = field(default_factory=dict)
    causes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def general(name: str) -> str:
    """The name without what is one layer's, or one type's, own."""
    name = re.sub(r"^blocks\.\d+\.", "blocks.i.", name)
    return re.sub(r"^rotary_emb\.\w+_attention\.", "rotary_emb.TYPE.", name)


def shape(point: HookPoint) -> str:
    """Such as [batch, pos, head, d_head]."""
    return f"[{', '.join(['batch', *(a.name if a.name != 'one' else '1' for a in point.axes)])}]"


def _same(one: HookPoint, other: HookPoint) -> bool:
    return (
        shape(one) == shape(other)
        and one.dtype == other.dtype
        and one.read_only_reason == other.read_only_reason
        and [general(a) for a in one.aliases] == [general(a) for a in other.aliases]
    )


def _merge(reference: Reference, variant: str, points: list[HookPoint]) -> None:
    """Adds a variant's hook points, each new name behind the one that it follows in the pass."""
    order = list(reference.entries)
    behind = -1
    for point in points:
        name = general(point.name)
        entry = reference.entries.get(name)
        if entry is None:
            entry = reference.entries[name] = Entry(name, point)
            order.insert(behind + 1, name)
        elif not _same(entry.point, point):
            sys.exit(f"{point.name} is not the same in all layers and variants")
        entry.layers[variant].add(point.layer)
        behind = max(behind, order.index(name)) if point.layer in (None, 0) else behind
    reference.entries = {name: reference.entries[name] for name in order}


def _absences(reference: Reference, variant: str, model: hookwire.RemoteModel) -> None:
    """Asks why a name is not in some layer, or not in this variant at all."""
    for entry in reference.entries.values():
        missing = [i for i in range(model.cfg.n_layers) if i not in entry.layers[variant]]
        if None in entry.layers[variant] or not missing:
            continue
        name = entry.name.replace("blocks.i.", f"blocks.{missing[0]}.")
        try:
            model.plan([[2]], name, return_type=None)
        except hookwire.AbsentHookError as error:
            cause = error.metadata["cause"].split(";")[0]
            cause = re.sub(
                r"layer \d+ reuses (.*) of layer \d+",
                r"the layer reuses \1 of an earlier one",
                cause,
            )
            cause = re.sub(r"layer \d+", "the layer", cause)
            if cause not in reference.causes[entry.name]:
                reference.causes[entry.name].append(cause)


def ask() -> Reference:
    """Starts a daemon on each variant and asks it."""
    reference = Reference()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = {
            variant: write(CHECKPOINTS[name], Path(folder) / name)
            for variant, (_, name) in VARIANTS.items()
        }
        # First all names, then why some of them are missing.
        for step in ("names", "absences"):
            for variant, checkpoint in checkpoints.items():
                with (
                    hookwired(checkpoint, numerics="fast", dtype="auto", threads=1) as address,
                    hookwire.connect(address, quiet=True, tensors="numpy") as model,
                ):
                    reference.n_layers[variant] = model.cfg.n_layers
                    if step == "names":
                        _merge(reference, variant, model.hook_points())
                    else:
                        _absences(reference, variant, model)
    return reference


def _presence(reference: Reference, entry: Entry, variant: str) -> str:
    layers = entry.layers[variant]
    if not layers:
        return "–"
    return "●" if None in layers or len(layers) == reference.n_layers[variant] else "◐"


def _row(reference: Reference, entry: Entry) -> str:
    point = entry.point
    names = "<br>".join(
        f"`{general(n).removeprefix('blocks.i.')}`" for n in (point.name, *point.aliases)
    )
    notes = [f"`{shape(point)}`"]
    if point.dtype != COMPUTE:
        notes.append(point.dtype)
    if not point.writable:
        notes.append(f"read only: {point.read_only_reason}")
    presence = " | ".join(_presence(reference, entry, variant) for variant in VARIANTS)
    return f"| {names} | {'<br>'.join(notes)} | {presence} |"


def _list(names: list[str]) -> str:
    return ", ".join(f"`{name.removeprefix('blocks.i.')}`" for name in names)


def page() -> str:
    """The page."""
    reference = ask()
    columns = [published for published, _ in VARIANTS.values()]
    header = [
        f"| name and aliases | shape | {' | '.join(columns)} |",
        f"| --- | --- | {' | '.join([':-:'] * len(columns))} |",
    ]
    sections: dict[str, list[str]] = {
        "Before the blocks": [],
        "In each block": [],
        "After the blocks": [],
    }
    seen_block = False
    for entry in reference.entries.values():
        in_block = entry.name.startswith("blocks.")
        seen_block |= in_block
        title = (
            "In each block"
            if in_block
            else "After the blocks"
            if seen_block
            else "Before the blocks"
        )
        sections[title].append(_row(reference, entry))
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, causes in reference.causes.items():
        for cause in causes:
            reasons[cause].append(name)
    parts = [HEAD]
    for title, rows in sections.items():
        note = BLOCKS if title == "In each block" else ""
        table = "\n".join([*header, *rows])
        parts.append(f'## {title}\n\n{note}<div class="hooks" markdown>\n\n{table}\n\n</div>\n')
    parts.append(
        "## Why some layers or models have none\n\n"
        "If you ask for an absent hook point by name, the error has the reason and, if there is\n"
        "one, the hook point to use instead.\n\n"
        "| reason | absent |\n| --- | --- |\n"
        + "".join(f"| {cause} | {_list(names)} |\n" for cause, names in reasons.items())
    )
    return "\n".join(parts)


def main() -> None:
    """Writes the page, or checks it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if it is stale")
    check = parser.parse_args().check
    made = page()
    if not check:
        PAGE.write_text(made)
    elif not PAGE.exists() or PAGE.read_text() != made:
        sys.exit(f"{PAGE.name} is stale: python docs/generate_hooks.py makes it.")


if __name__ == "__main__":
    main()
