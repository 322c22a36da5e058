"""The command line: `python -m bench`."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bench import machine, plot, report
from bench.agree import DisagreementError
from bench.cache import LeftOutError
from bench.figures import LeftOut, Row
from bench.rows import ROWS
from bench.workbench import Workbench


def chosen(only: Sequence[str]) -> list[str]:
    """The rows that `--only` names: whole ("hook/mid"), by kind ("hook") or by checkpoint ("mid").

    Raises:
        ValueError: a name that no row has.
    """
    for name in only:
        if not any(name in (row, *row.split("/")) for row in ROWS):
            raise ValueError(f"no row {name!r}; there are {', '.join(ROWS)}")
    return [row for row in ROWS if not only or any(name in (row, *row.split("/")) for name in only)]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="./run bench",
        description="Measures Hookwire against what its users run today, side by side.",
        epilog=f"Rows: {', '.join(ROWS)}.",
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="ROW", help="rows, kinds, models")
    parser.add_argument(
        "--quick", action="store_true", help="few repetitions, to see that it works"
    )
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write every repetition, and the goals, there; without a file: print nothing else",
    )
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument(
        "--into", type=Path, metavar="FILE", help="put it between a document's marks"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the rows of `curve` there, as PNG"
    )
    parser.add_argument("--threads", type=int, default=2, help="of either side (default 2)")
    options = parser.parse_args(arguments)
    try:
        options.rows = chosen(options.only)
        if options.into:  # now rather than after the measurements
            report.put_into(options.into.read_text(), "")
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return options


@dataclass
class Results:
    """What became of the rows.

    Attributes:
        rows: that were measured.
        left_out: that this machine has no room or no packages for.
        failures: that were not measured because sides return different outputs, and how.
    """

    rows: list[Row] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def run(options: argparse.Namespace) -> Results:
    """Measures row after row; how far it is goes to stderr."""
    results = Results()
    with Workbench(threads=options.threads, quick=options.quick) as bench:
        for number, name in enumerate(options.rows, 1):
            print(f"{number} of {len(options.rows)}: {name}", file=sys.stderr, flush=True)
            try:
                results.rows += ROWS[name](bench)
            except DisagreementError as error:
                results.failures.append(f"{name}: {error}")
            except LeftOutError as error:
                results.left_out.append(LeftOut(name, str(error)))
    return results


def main() -> None:
    """Prints the machine and the table; exit status 1 if sides return different outputs."""
    options = parse()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    described = machine.describe(options.threads)
    results = run(options)
    told = (described, results.rows, results.left_out)
    whole = json.dumps(report.as_json(*told), indent=2)
    if options.json == "-":
        print(whole)
    else:
        print((report.markdown if options.markdown else report.text)(*told))
    if options.into:
        document = options.into.read_text()
        options.into.write_text(report.put_into(document, report.markdown(*told)))
    if options.json and options.json != "-":
        path = Path(options.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(whole + "\n")
    if options.plot:
        plot.curves(results.rows).savefig(options.plot, dpi=plot.DPI)
    if results.failures:
        sys.exit("\n".join(["Not measured, because both sides do not agree:", *results.failures]))


if __name__ == "__main__":
    main()
