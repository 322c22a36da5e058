"""Makes the table of names that TransformerLens's model has and Hookwire's lacks.

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
# Names of TransformerLens that Hookwire lacks

This page lists every public attribute and method that `RemoteModel` does not have, out of those of
TransformerLens 4.3.0's `TransformerBridge`, of its configuration (here `model.cfg`), and of the
`HookedTransformer` of earlier versions, and some of those of Transformers. If your code uses one of
them, the error has the same text as this page. Everything else in TransformerLens works under the
same name. For single arguments see
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
