"""Makes the table of what TransformerLens's model has and Hookwire's has not.

    python docs/generate_comparison.py [--check]

Reads hookwire.facts.not_here, writes coming-from/transformer-lens-table.md; with --check, says
whether that is fresh instead.
"""

from __future__ import annotations

import argparse
import sys
from itertools import groupby
from pathlib import Path

from hookwire.facts.not_here import CONFIG, EARLIER, EARLIER_CONFIG, MODEL, Group

FOLDER = Path(__file__).resolve().parent / "coming-from"
TABLE = FOLDER / "transformer-lens-table.md"

HEAD = """\
# What TransformerLens has and Hookwire has not

Every public attribute and method of TransformerLens 4.3.0's `TransformerBridge` that `RemoteModel`
does not have, every one of its configuration's that `model.cfg` does not have, those of the
`HookedTransformer` that TransformerLens had before, and some of Transformers' models and of their
configuration. Asking for one of them raises with what stands here. Whatever else TransformerLens
has is there, under the same name. What some of their arguments cannot be is in
[coming from TransformerLens](transformer-lens.md#arguments).

<!-- Made by docs/generate_comparison.py from client/python/hookwire/facts/not_here.py. -->
"""


def groups() -> tuple[Group, ...]:
    """What hookwire.facts.not_here says."""
    return (*MODEL, *EARLIER, *CONFIG, *EARLIER_CONFIG)


def table() -> str:
    """The page."""
    sections = []
    for title, members in groupby(groups(), key=lambda group: group.title):
        rows = ["| there | why not here | instead |", "| --- | --- | --- |"]
        for group in members:
            names = ", ".join(f"`{name}`" for name in sorted(group.names))
            rows.append(f"| {names} | {group.why} | {group.instead} |")
        sections.append(f"## {title}\n\n" + "\n".join(rows) + "\n")
    return "\n".join([HEAD, *sections])


def main() -> None:
    """Writes the page, or checks it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if it is stale")
    if not parser.parse_args().check:
        TABLE.write_text(table())
    elif not TABLE.exists() or TABLE.read_text() != table():
        sys.exit(f"{TABLE.name} is stale: python docs/generate_comparison.py makes it.")


if __name__ == "__main__":
    main()
