"""Makes the table of what TransformerLens's model has and Hookwire's has not.

    python docs/generate_comparison.py [--check]

Reads coming-from/not-here.toml, writes coming-from/transformer-lens-table.md; with --check, says
whether that is fresh instead.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import tomllib

FOLDER = Path(__file__).resolve().parent / "coming-from"
REASONS = FOLDER / "not-here.toml"
TABLE = FOLDER / "transformer-lens-table.md"

HEAD = """\
# What TransformerLens has and Hookwire has not

Every public attribute and method of TransformerLens 4.3.0's `TransformerBridge` that `RemoteModel`
does not have. Whatever is not in this table is there, under the same name. What some of their
arguments cannot be is in [coming from TransformerLens](transformer-lens.md#arguments).

<!-- Made by docs/generate_comparison.py from not-here.toml. -->
"""


@dataclass(frozen=True)
class Group:
    """Names that are missing for one reason.

    Attributes:
        title: the section they are in.
        names: of TransformerLens.
        why: they are missing.
        instead: what to use.
    """

    title: str
    names: tuple[str, ...]
    why: str
    instead: str


def groups() -> list[Group]:
    """What not-here.toml says."""
    entries = tomllib.loads(REASONS.read_text())["group"]
    return [Group(e["title"], tuple(e["names"]), e["why"], e["instead"]) for e in entries]


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
