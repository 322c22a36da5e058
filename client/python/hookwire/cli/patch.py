"""`hookwire patch`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from hookwire.cli import failure, files, places, points, prompts, show
from hookwire.cli.completion import complete_hooks
from hookwire.cli.places import Parts
from hookwire.cli.settings import Settings, subcommand
from hookwire.cli.show import Output
from hookwire.plot import scale
from hookwire.recipes.patching import METRICS, Sweep, heads_of, sweep
from hookwire.recipes.points import find

_EXAMPLES = """
hookwire patch "When Mary and John went to the store , John gave a drink to" \\
               "When Mary and John went to the store , Mary gave a drink to" -o map.png
hookwire patch CLEAN CORRUPT --hook z --by head --metric recovered
hookwire patch CLEAN CORRUPT --hook 'blocks.*.mlp.hook_out' --answer Mary --against John
"""


@subcommand("patch", examples=_EXAMPLES)
@click.argument("clean")
@click.argument("corrupt")
@click.option(
    "--hook",
    metavar="FILTER",
    default="resid_pre",
    show_default=True,
    callback=points.not_empty,
    shell_complete=complete_hooks,
    help="What to copy: a glob, a name, or TransformerLens's short name: resid_pre, attn_out, z, …",
)
@click.option(
    "--metric",
    "measure",
    type=click.Choice(METRICS),
    default="logit-diff",
    show_default=True,
    help="What to measure at the last position.",
)
@click.option(
    "--answer", metavar="WORD", help="The right next word. Default: the model's for CLEAN."
)
@click.option(
    "--against", metavar="WORD", help="The wrong next word. Default: the model's for CORRUPT."
)
@click.option(
    "--by",
    type=click.Choice(["pos", "head"]),
    default="pos",
    show_default=True,
    help="Copy one position at a time (of all heads), or one head (at all positions).",
)
@places.option("--layers", "Layers to patch")
@places.option("--at", "Positions, or heads, to patch")
@prompts.options
@files.picture_option("Draw the heat map in this file")
def command(
    settings: Settings,
    clean: str,
    corrupt: str,
    hook: str,
    measure: str,
    answer: str | None,
    against: str | None,
    by: str,
    layers: Parts | None,
    at: Parts | None,
    ids: bool,
    bos: bool | None,
    path: Path | None,
) -> None:
    """Patch one prompt with activations of another.

    Both prompts must have the same number of tokens. For each layer and position, the command
    copies a hook point's activation from the run of CLEAN into the run of CORRUPT, and compares the
    logits of two possible next words. The answer is a heat map with a row for each token and a
    column for each layer. In the picture of -o, rows are layers. Each layer takes one run.

    Metrics: logit-diff is logit(ANSWER) - logit(AGAINST); recovered is the same, scaled so
    that CORRUPT has 0 and CLEAN has 1; log-prob and prob are those of ANSWER only.
    """
    output = settings.output()
    if against is not None and measure in ("log-prob", "prob"):
        failure.refuse(
            f"--against has no effect with --metric {measure}, which measures only the answer"
        )
    if path is not None:
        files.check_picture(path)
    with settings.connect() as model:
        pair = (
            prompts.read(model, clean, ids, bos),
            prompts.read(model, corrupt, ids, bos),
        )
        chosen = find(model, hook)
        size = len(pair[0]) if by == "pos" else heads_of(chosen)
        result = sweep(
            model,
            pair[0].ids,
            pair[1].ids,
            chosen,
            by=by,
            layers=layers and places.resolve(layers, model.cfg.n_layers, "layer"),
            at=places.resolve(at, size, "position" if by == "pos" else "head"),
            answer=None if answer is None else prompts.token_id(model, answer, ids),
            against=None if against is None else prompts.token_id(model, against, ids),
            metric=measure,
            steps=show.progress,
        )
        receipt = model.last_receipt
    assert receipt is not None
    if path is not None:
        result.plot(hook=hook, save=path, shown=show.word)
    if output.json:
        output.document(
            {
                "clean": {**pair[0].described(), "value": result.clean},
                "corrupted": {**pair[1].described(), "value": result.corrupted},
                "metric": measure,
                "answer": {"word": result.words[0], "id": result.answer},
                "against": {"word": result.words[1], "id": result.against},
                "hooks": result.hooks,
                "layers": result.layers,
                "heads" if by == "head" else "positions": result.places,
                "values": result.values,
                "largest": _largest(result),
                "receipt": asdict(receipt),
                "file": None if path is None else str(path),
            }
        )
        return
    _show(output, result, path)


def _largest(result: Sweep) -> dict[str, Any]:
    """Where the metric is farthest from that of the corrupted prompt, for JSON."""
    row, column = result.largest
    return {
        "hook": result.hooks[row],
        result.by: result.places[column],
        "value": float(result.values[row, column]),
    }


def _show(output: Output, result: Sweep, path: Path | None) -> None:
    clean, corrupted = show.signed(result.clean), show.signed(result.corrupted)
    output.line(f"{result.measures(show.word, minus='-')}: clean {clean}, corrupted {corrupted}")
    output.line()
    output.grid(
        [show.word(text) for text in result.labels],
        result.rows,
        [[show.signed(value) for value in column] for column in result.values.T],
        show.diverging(
            result.values.T, scale.patching(result.values, result.clean, result.corrupted)
        ),
    )
    row, column = result.largest
    where = "position" if result.by == "pos" else "head"
    place = f"{where} {result.places[column]}"
    if result.by == "pos":
        place += f" ({show.word(result.labels[column])})"
    output.line()
    output.line(
        f"largest: {result.hooks[row]} at {place}: {show.signed(result.values[row, column])}"
    )
    if path is not None:
        output.line(str(path))
