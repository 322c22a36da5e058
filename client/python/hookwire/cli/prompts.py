"""Prompts: from what users write to token ids and the words that pictures are labelled with."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

import hookwire
from hookwire.cli import failure
from hookwire.recipes.words import word

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Prompt:
    """A prompt.

    Attributes:
        ids: its token ids.
        words: the text of each; the id where the checkpoint has no tokenizer.
    """

    ids: list[int]
    words: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    def described(self) -> dict[str, Any]:
        """For JSON."""
        return {"ids": self.ids, "words": self.words}


def options(command: F) -> F:
    """Adds `--ids` and `--no-bos`."""
    ids = click.option(
        "--ids", is_flag=True, help="The prompt is token ids, such as 2,17,4, not text."
    )
    bos = click.option(
        "--bos/--no-bos",
        default=None,
        help="Put a beginning-of-sequence token before text. Default: yes.",
    )
    return ids(bos(command))


def read(model: hookwire.RemoteModel, text: str, ids: bool, bos: bool | None) -> Prompt:
    """The prompt that a user wrote.

    Args:
        model: whose tokenizer to use.
        text: the prompt; "-" is standard input.
        ids: it is a list of token ids.
        bos: text gets a beginning-of-sequence token; None: it does.

    Raises:
        Failure: no token at all, ids that are none, or `bos` for ids.
        NoTokenizerError: text, and the checkpoint has no tokenizer.
    """
    if ids and bos is not None:
        failure.refuse(
            f"--{'' if bos else 'no-'}bos is for text, and --ids says that the prompt is token ids"
        )
    if text == "-":
        text = _standard_input()
    if ids:
        tokens = _ids(text)
    else:
        # One that is too long is refused by the server, not cut.
        tokens = model.to_tokens(text, prepend_bos=bos is not False, truncate=False)[0].tolist()
    if not tokens:
        failure.refuse("the prompt is empty")
    if ids and max(tokens) >= model.cfg.d_vocab:
        failure.refuse(f"token id {max(tokens)} is outside the {model.cfg.d_vocab} of the model")
    return Prompt(tokens, [word(model, token) for token in tokens])


def _standard_input() -> str:
    """The prompt on standard input, without the end of its last line.

    Raises:
        Failure: it is no text, or cannot be read.
    """
    if sys.stdin is None:
        failure.refuse("the prompt is -, and standard input is closed")
    try:
        content: bytes = sys.stdin.buffer.read()
        return content.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        failure.refuse(f"standard input is not UTF-8 text: byte {error.start} begins no character")
    except OSError as error:
        failure.refuse(f"standard input cannot be read: {error}")


def _ids(text: str) -> list[int]:
    try:
        tokens = [int(token) for token in text.replace(",", " ").split()]
    except ValueError:
        tokens = [-1]
    if any(token < 0 for token in tokens):
        failure.refuse(f"{text!r:.60} is not a list of token ids such as 2,17,4")
    return tokens


def token_id(model: hookwire.RemoteModel, text: str, ids: bool) -> int:
    """The id of a word that a user names, or the id itself with `--ids`.

    Raises:
        Failure: no id.
        NotASingleTokenError: a word of several tokens.
    """
    if not ids:
        return model.to_single_token(text)
    tokens = _ids(text)
    if len(tokens) != 1 or tokens[0] >= model.cfg.d_vocab:
        failure.refuse(f"{text!r} is not a token id below {model.cfg.d_vocab}")
    return tokens[0]
