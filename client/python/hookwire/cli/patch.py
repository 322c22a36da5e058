"""`hookwire patch`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np

import hookwire
from hookwire.cli import failure, files, places, points, prompts, show
from hookwire.cli.completion import complete_hooks
from hookwire.cli.patching import METRICS, Result, patch
from hookwire.cli.places import Parts
from hookwire.cli.settings import Settings, subcommand
from hookwire.cli.show import Output
from hookwire.facts.catalogue import HookPoint
from hookwire.plot import scale

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
@click.option("--answer", metavar="WORD", help="Default: the clean prompt's next word.")
@click.option("--against", metavar="WORD", help="Default: the corrupted prompt's next word.")
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
@files.picture_option("Draw the heat map there")
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

    Both prompts must have as many tokens. For each layer and position, what a hook point has there
    in the run of CLEAN is put into that of CORRUPT, and the next word's logits are compared with
    those of two words. The answer is a heat map: rows are tokens, columns are layers. The map of
    -o has them the other way round. A layer is one run.

    Metrics: logit-diff is logit(ANSWER) − logit(AGAINST); recovered is the same on a scale where 0
    is as CORRUPT and 1 as CLEAN; log-prob and prob are those of ANSWER alone.
    """
    output = settings.output()
    if against is not None and measure in ("log-prob", "prob"):
        failure.refuse(
            f"--against has no part in --metric {measure}, which is that of the answer alone"
        )
    if path is not None:
        files.check_picture(path)
    with settings.connect() as model:
        pair = (
            prompts.read(model, clean, ids, bos),
            prompts.read(model, corrupt, ids, bos),
        )
        words = _words(model, pair, answer, against, ids)
        chosen = _in_layers(model, points.find(model, hook), layers)
        result = patch(model, *pair, words, chosen, by, at, measure)
        receipt = model.last_receipt
    assert receipt is not None
    if path is not None:
        _draw(path, result, hook)
    if output.json:
        output.document(
            {
                "clean": {**pair[0].described(), "value": result.clean},
                "corrupted": {**pair[1].described(), "value": result.corrupted},
                "metric": measure,
                "answer": {"word": result.words[0], "id": words[0]},
                "against": {"word": result.words[1], "id": words[1]},
                "hooks": list(chosen),
                "layers": [point.layer for point in chosen.values()],
                "heads" if by == "head" else "positions": result.places,
                "values": result.values,
                "largest": result.described_largest(),
                "receipt": asdict(receipt),
                "file": None if path is None else str(path),
            }
        )
        return
    _show(output, result, path)


def _words(
    model: hookwire.RemoteModel,
    pair: Sequence[prompts.Prompt],
    answer: str | None,
    against: str | None,
    ids: bool,
) -> tuple[int, int]:
    """The ids of the two words: those that a user names, or what the model says itself.

    Raises:
        Failure: prompts of different lengths, logits that are NaN, or the same word twice.
        NotASingleTokenError: a word that is none, or several, or that the tokenizer does not know.
    """
    lengths = [len(prompt) for prompt in pair]
    if lengths[0] != lengths[1]:
        failure.refuse(
            f"CLEAN has {lengths[0]} tokens and CORRUPT {lengths[1]}: both must have as many"
        )
    logits = model([prompt.ids for prompt in pair], logits_pos=-1)  # [2, 1, d_vocab]
    if np.isnan(logits).any():
        failure.refuse("the model's logits are NaN, so there is no next word to compare")
    chosen = [
        prompts.token_id(model, given, ids) if given is not None else int(row[0].argmax())
        for given, row in zip((answer, against), logits, strict=True)
    ]
    if chosen[0] == chosen[1]:
        same = prompts.word(model, chosen[0])
        failure.refuse(f"both words are {same!r}: name two with --answer and --against")
    return chosen[0], chosen[1]


def _in_layers(
    model: hookwire.RemoteModel, found: dict[str, HookPoint], layers: Parts | None
) -> dict[str, HookPoint]:
    """Those of the hook points that are in the layers.

    Raises:
        Failure: none of them is.
    """
    if layers is None:
        return found
    wanted = places.resolve(layers, model.cfg.n_layers, "layer")
    chosen = {name: point for name, point in found.items() if point.layer in wanted}
    if not chosen:
        failure.refuse(f"{next(iter(found))} and the like are in none of these layers")
    return chosen


def _show(output: Output, result: Result, path: Path | None) -> None:
    clean, corrupted = show.signed(result.clean), show.signed(result.corrupted)
    output.line(f"{result.measures}: clean {clean}, corrupted {corrupted}")
    output.line()
    output.grid(
        [show.word(text) for text in result.labels],
        result.layers,
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


def _draw(path: Path, result: Result, hook: str) -> None:
    from hookwire import plot

    plot.patching(
        result.values,
        tokens=[show.word(text) for text in result.labels],
        clean=result.clean,
        corrupted=result.corrupted,
        layers=result.layers,
        metric=result.measures,
        hook=hook,
        column_axis="head" if result.by == "head" else "",
        save=path,
    )
