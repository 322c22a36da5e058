"""Words of a text that a tokenizer does not know.

A tokenizer with an unknown token, such as "<unk>", puts it where a text has what the vocabulary
lacks; one without drops such characters, or fails. Tokenizers that fall back to bytes know all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import tokenizers
from tokenizers import models

from hookwire import errors

_SHOWN = 10
# A character of no script; what a vocabulary makes of it, it makes of every unknown character.
_NO_CHARACTER = "\U0010fffd"


class UnknownWords:
    """Finds, in an encoded text, the words that the vocabulary lacks. Thread-compatible."""

    def __init__(self, backend: tokenizers.Tokenizer, unk: str | None) -> None:
        """Args:
        backend: the tokenizer.
        unk: the text of its unknown token; None where it has none.
        """
        self._backend = backend
        model = backend.model
        self._drops = isinstance(model, models.BPE) and not (
            model.unk_token or _knows_all_bytes(backend)
        )
        # The unknown token's id, or ids, and its text.
        self._texts: dict[int, str] = {}
        for text in (unk, getattr(model, "unk_token", None)):
            known = None if text is None else backend.token_to_id(text)
            if text is not None and known is not None:
                self._texts[known] = text
        if isinstance(model, models.Unigram):
            self._texts.update(_unigram_unknown(model))

    @property
    def ids(self) -> frozenset[int]:
        """The ids of the unknown token."""
        return frozenset(self._texts)

    @property
    def seen(self) -> str:
        """What the model sees in place of an unknown word."""
        return next(iter(self._texts.values()), "nothing")

    def in_encoding(self, text: str, encoding: Any) -> list[str]:
        """The unknown words of a text, in its order, each once.

        Args:
            text: what was encoded.
            encoding: its `tokenizers.Encoding`. What truncation has cut is not looked at.
        """
        spans = self._unknown_spans(text, encoding)
        words = [word for start, end in spans for word in text[start:end].split()]
        return list(dict.fromkeys([*words, *self._dropped(text)]))

    def _unknown_spans(self, text: str, encoding: Any) -> list[tuple[int, int]]:
        ids = encoding.ids
        if self._texts.keys().isdisjoint(ids):
            return []
        spans: list[tuple[int, int]] = []
        for token, (start, end) in zip(ids, encoding.offsets, strict=True):
            # An unknown token that the text itself spells out is meant.
            if token not in self._texts or text[start:end].strip() == self._texts[token]:
                continue
            if spans and spans[-1][1] == start and not text[end - 1 : end].isspace():
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((start, end))
        return spans

    def _dropped(self, text: str) -> list[str]:
        """Characters that no token stands for, those that stand together as one word."""
        if not self._drops:
            return []
        for token in self._backend.get_added_tokens_decoder().values():
            text = text.replace(token.content, " ")
        words: list[str] = []
        for piece in self._pieces(text):
            word = ""
            for character in [*piece, " "]:
                if not character.isspace() and not self._backend.model.tokenize(character):
                    word += character
                elif word:
                    words.append(word)
                    word = ""
        return words

    def _pieces(self, text: str) -> list[str]:
        """What the vocabulary is asked for: a text, normalized, in pieces."""
        backend = self._backend
        if backend.normalizer is not None:
            text = backend.normalizer.normalize_str(text)
        if backend.pre_tokenizer is None:
            return [text]
        return [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str(text)]

    def why_not(self, texts: Iterable[str], error: Exception) -> errors.HookwireError:
        """The error for texts that the tokenizer has failed to encode."""
        failing = [word for text in texts for word in self._failing(text)]
        if not failing:
            return errors.ArgumentError(f"the tokenizer cannot encode this text: {error}")
        return errors.UnknownWordError(
            f"the vocabulary lacks {listed(failing)}, and the tokenizer has no unknown token"
        )

    def _failing(self, text: str) -> list[str]:
        return [piece for piece in self._pieces(text) if not self._encodes(piece)]

    def _encodes(self, piece: str) -> bool:
        try:
            self._backend.model.tokenize(piece)
        except Exception:  # the library raises plain Exception
            return False
        return True


def _knows_all_bytes(backend: tokenizers.Tokenizer) -> bool:
    """Whether the vocabulary is of bytes, so that it can write any text."""
    probe = "".join(map(chr, range(1, 256))) + "\u0800\uffff\U00010000\U000fffff\U0010ffff"
    try:
        ids = backend.encode(probe, add_special_tokens=False).ids
        text: str = backend.decode(ids, skip_special_tokens=False)
    except Exception:  # the library raises plain Exception
        return False
    return text == probe


def _unigram_unknown(model: Any) -> dict[int, str]:
    """The unknown token of a Unigram model, which has no attribute for it."""
    try:
        found = model.tokenize(_NO_CHARACTER)
    except Exception:  # there is none; the library raises plain Exception
        return {}
    if len(found) != 1:
        return {}  # it falls back to bytes
    return {found[0].id: model.id_to_token(found[0].id)}


def listed(words: Sequence[str]) -> str:
    """Words as messages show them, in quotes; of many the first."""
    distinct = list(dict.fromkeys(words))
    shown = ", ".join(map(repr, distinct[:_SHOWN]))
    more = len(distinct) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
