"""The words that tables and pictures are labelled with."""

from __future__ import annotations

from hookwire import errors
from hookwire.api.blocking.model import RemoteModel


def word(model: RemoteModel, token: int) -> str:
    """The text of a token id, or the id where there is no tokenizer, or it has no such word."""
    try:
        return model.to_single_str_token(token)
    except (errors.NoTokenizerError, errors.TokenOutOfRangeError):
        return str(token)
