"""`hookwire lens`."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict
from pathlib import Path

import click

import hookwire
from hookwire import errors
from hookwire.api.lens import LayerAnswers
from hookwire.cli import files, places, prompts, show
from hookwire.cli.places import Parts
from hookwire.cli.prompts import Prompt
from hookwire.cli.settings import Settings, subcommand
from hookwire.recipes.words import word

_EXAMPLES = """
hookwire lens "When Mary and John went to the store , John gave a drink to"
hookwire lens --pos -1 --layers ::4 "Mary gave a drink to" -o lens.png
hookwire --json lens "Mary gave a drink to" | jq -r '.words[][-1]'
"""


@subcommand("lens", examples=_EXAMPLES)
@click.argument("prompt")
@places.option("--layers", "Layers to show")
@places.option("--pos", "Positions to show")
@prompts.options
@files.picture_option("Draw the lens in this file")
def command(
    settings: Settings,
    prompt: str,
    layers: Parts | None,
    pos: Parts | None,
    ids: bool,
    bos: bool | None,
    path: Path | None,
) -> None:
    """Show the next word after each layer.

    This is the logit lens: the server puts the residual stream after each layer through the model's
    final norm and unembedding. Rows are the prompt's tokens, columns are layers, and the colour is
    the probability of the word. The last layer gives the model's own answer.
    """
    output = settings.output()
    if path is not None:
        files.check_picture(path)
    with settings.connect() as model:
        tokens = prompts.read(model, prompt, ids, bos)
        with warnings.catch_warnings():
            # The stream of all layers may be large, and is what the command is for.
            warnings.simplefilter("ignore", errors.ResultSizeWarning)
            found = model.logit_lens(
                tokens.ids,
                places.resolve(layers, model.cfg.n_layers, "layer"),
                places.resolve(pos, len(tokens), "position"),
                steps=show.progress,
            )
        words = _words(model, found)
        receipt = model.last_receipt
    assert receipt is not None
    if path is not None:
        _draw(path, found, words, tokens)
    if output.json:
        output.document(
            {
                "prompt": tokens.described(),
                "layers": found.layers,
                "positions": found.positions,
                "words": words,
                "ids": found.ids,
                "probabilities": found.probabilities,
                "receipt": asdict(receipt),
                "file": None if path is None else str(path),
            }
        )
        return
    output.grid(
        [show.word(tokens.words[at]) for at in found.positions],
        [str(layer) for layer in found.layers],
        [[show.word(row[at]) for row in words] for at in range(len(found.positions))],
        show.shades(found.probabilities.T),
    )
    if path is not None:
        output.line()
        output.line(str(path))


def _words(model: hookwire.RemoteModel, found: LayerAnswers) -> list[list[str]]:
    """The words, [layer][pos]; "NaN" where the logits are."""
    return [
        [
            "NaN" if math.isnan(share) else word(model, int(token))
            for token, share in zip(row, shares, strict=True)
        ]
        for row, shares in zip(found.ids, found.probabilities, strict=True)
    ]


def _draw(path: Path, found: LayerAnswers, words: list[list[str]], tokens: Prompt) -> None:
    from hookwire import plot

    plot.lens(
        [[show.word(word) for word in row] for row in words],
        found.probabilities,
        tokens=[show.word(tokens.words[at]) for at in found.positions],
        layers=found.layers,
        save=path,
    )
