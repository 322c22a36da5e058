"""The input of a run: from every form that users have to sequences without padding, and back.

On the wire there is no padding: each row of the input is a sequence of its real tokens. A `Batch`
remembers where in the padded rows they stood, so that results can be put back in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hookwire import errors
from hookwire.errors import wording
from hookwire.facts import dtypes
from hookwire.facts.dtypes import Array
from hookwire.facts.ids import check_padding_side, token_ids


class Encoder(Protocol):
    """What inputs need of a tokenizer."""

    padding_side: str

    def encode_rows(
        self,
        texts: Sequence[str],
        prepend_bos: bool | None,
        padding_side: str | None,
    ) -> tuple[Array, Array]:
        """Token ids and mask, both [batch, pos]; cuts texts that are too long, and warns."""


class EncoderSource(Protocol):
    """Gives the tokenizer when it is first needed."""

    def __call__(self) -> Encoder:
        """The tokenizer.

        Raises:
            NoTokenizerError: the checkpoint has none.
        """


@dataclass(frozen=True)
class Batch:
    """Rows of tokens.

    Attributes:
        rows: the real tokens of each row.
        starts: where in the padded row they begin.
        width: tokens of a padded row.
        padded: whether any row has padding.
        looks_padded: whether a warning was drawn: see `batch`.
    """

    rows: list[list[int]]
    starts: list[int]
    width: int
    padded: bool
    looks_padded: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def mask(self) -> Array:
        """True where a token is real, bool [batch, pos]."""
        if not self.padded:
            return np.ones((len(self.rows), self.width), dtype=bool)
        places = np.arange(self.width)
        starts = np.array(self.starts)[:, None]
        lengths = np.array([len(row) for row in self.rows])[:, None]
        inside: Array = (places >= starts) & (places < starts + lengths)
        return inside

    def row(self, index: int, what: str) -> int:
        """The row's number, counted from 0.

        Raises:
            RowOutOfRangeError: there is no such row.
        """
        if not -len(self.rows) <= index < len(self.rows):
            raise errors.RowOutOfRangeError(
                f"{what}={index} is outside the {wording.counted(len(self.rows), 'row')}"
            )
        return index % len(self.rows)


def needs_tokenizer(value: Any, padding_side: str | None) -> bool:
    """Whether `batch` will ask for the tokenizer."""
    if isinstance(value, str):
        return True
    if not isinstance(value, (list, tuple)) or not value:
        return False
    if isinstance(value[0], str):
        return True
    return padding_side is None and _is_ragged(value)


def batch(
    value: Any,
    *,
    attention_mask: Any = None,
    prepend_bos: bool | None = None,
    padding_side: str | None = None,
    encoder: EncoderSource,
    pad_token_id: int | None = None,
    what: str = "the input",
) -> Batch:
    """Sequences out of what a user gives.

    Args:
        value: text; a list of texts; token ids as a flat list, as lists of possibly different
            lengths, or as a NumPy or torch array [pos] or [batch, pos]; or what a Hugging Face
            tokenizer returns (a mapping with "input_ids" and "attention_mask").
        attention_mask: [batch, pos] of 0 and 1: padding on the left or the right.
        prepend_bos: for text; see `Tokenizer.to_tokens`.
        padding_side: "left" or "right": where shorter rows of a list are padded. Default: the
            tokenizer's.
        encoder: gives the tokenizer.
        pad_token_id: an id that, at the edge of a row without a mask, draws a warning.
        what: the argument, for messages.

    Raises:
        NoSequencesError: an empty list.
        EmptySequenceError: a row without a token.
        TokenOutOfRangeError: an id below 0 or over 32 bits (the server checks the rest).
        MaskError: a mask of another shape, with gaps, or with an empty row.
        ArgumentTypeError: anything else.
    """
    check_padding_side(padding_side)
    if isinstance(value, Mapping):
        if "input_ids" not in value:
            raise errors.ArgumentTypeError(
                f'{what} is a mapping without "input_ids": a tokenizer\'s output has them'
            )
        attention_mask = value.get("attention_mask") if attention_mask is None else attention_mask
        value = value["input_ids"]
    if isinstance(value, str):
        value = [value]
    if isinstance(value, (list, tuple)):
        if not value:
            raise errors.NoSequencesError(f"{what} is an empty list")
        if isinstance(value[0], str):
            if not all(isinstance(text, str) for text in value):
                raise errors.ArgumentTypeError(f"{what} mixes text with something else")
            ids, mask = encoder().encode_rows(value, prepend_bos, padding_side)
            if attention_mask is not None:
                mask = _check_mask(attention_mask, ids.shape)
            return _from_mask(ids, mask, what)
        if _is_ragged(value):
            if attention_mask is not None:
                raise errors.MaskError("rows of different lengths take no attention mask")
            return _from_rows(value, padding_side or _default_side(encoder), what)
    if hasattr(value, "dtype") and dtypes.is_floating(dtypes.to_numpy(value).dtype):
        raise errors.UnsupportedError(
            f"{what} must be text or token ids, not {errors.shown(value)}: embeddings as input "
            "are not supported"
        )
    ids = token_ids(value, what, "text or token ids")
    if ids.ndim == 1:
        ids = ids[None]
    if ids.ndim == 0:
        raise errors.ArgumentTypeError(
            f"{what} must be text or token ids in a list, not a single id: [[{int(ids)}]]"
        )
    if ids.ndim != 2:
        raise errors.ArgumentTypeError(
            f"the token ids of {what} must be [pos] or [batch, pos], not {list(ids.shape)}"
        )
    if ids.shape[0] == 0:
        raise errors.NoSequencesError(f"{what} has no rows: its shape is {list(ids.shape)}")
    if attention_mask is not None:
        return _from_mask(ids, _check_mask(attention_mask, ids.shape), what)
    if ids.shape[1] == 0:
        raise errors.EmptySequenceError(f"{what} has no tokens")
    warned = pad_token_id is not None and _warn_of_padding(ids, pad_token_id, what)
    return Batch(ids.tolist(), [0] * len(ids), ids.shape[1], padded=False, looks_padded=warned)


def _is_ragged(value: Sequence[Any]) -> bool:
    rows = (row for row in value if isinstance(row, (list, tuple)) or _is_vector(row))
    return len({len(row) for row in rows}) > 1


def _is_vector(row: Any) -> bool:
    ndim: object = getattr(row, "ndim", 0)
    return ndim == 1


def _default_side(encoder: EncoderSource) -> str:
    try:
        return encoder().padding_side
    except errors.NoTokenizerError:
        return "right"


def _from_rows(value: Sequence[Any], padding_side: str, what: str) -> Batch:
    rows = []
    for number, given in enumerate(value):
        ids = token_ids(given, f"row {number} of {what}")
        if ids.ndim != 1:
            raise errors.ArgumentTypeError(
                f"row {number} of {what} is not a flat list of token ids"
            )
        if ids.size == 0:
            raise errors.EmptySequenceError(f"row {number} of {what} has no tokens")
        rows.append(ids.tolist())
    width = max(map(len, rows))
    starts = [width - len(row) if padding_side == "left" else 0 for row in rows]
    return Batch(rows, starts, width, padded=True)


def _check_mask(attention_mask: Any, shape: tuple[int, ...]) -> Array:
    try:
        mask = dtypes.to_numpy(attention_mask)
    except ValueError:
        raise errors.MaskError(
            f"an attention mask must be [batch, pos], not {errors.shown(attention_mask)}"
        ) from None
    if mask.ndim == 1 and shape[0] == 1:
        mask = mask[None]
    if mask.shape != shape:
        raise errors.MaskError(
            f"the attention mask's shape is {list(mask.shape)}, the tokens' is {list(shape)}"
        )
    real: Array = mask == 1
    if not (real | (mask == 0)).all():
        raise errors.MaskError("an attention mask must hold 0 and 1 only")
    return real


def _from_mask(ids: Array, mask: Array, what: str) -> Batch:
    width = ids.shape[1]
    if mask.all() and width:
        return Batch(ids.tolist(), [0] * len(ids), width, padded=False)
    rows, starts = [], []
    for number, (row, real) in enumerate(zip(ids, mask, strict=True)):
        places = np.flatnonzero(real)
        if places.size == 0:
            raise errors.EmptySequenceError(
                f"row {number} of {what} has no tokens"
                + (": its attention mask is all zero" if width else "")
            )
        first, last = int(places[0]), int(places[-1])
        if last - first + 1 != places.size:
            raise errors.MaskError(
                f"the attention mask of row {number} has a gap: only padding on the left or the "
                "right can be left out"
            )
        rows.append(row[first : last + 1].tolist())
        starts.append(first)
    return Batch(rows, starts, width, padded=True)


def _warn_of_padding(ids: Array, pad: int, what: str) -> bool:
    edges = [side for side, column in (("begin", 0), ("end", -1)) if (ids[:, column] == pad).any()]
    if edges:
        errors.warn(
            f"rows of {what} {' and '.join(edges)} with the padding token (id {pad}) and there "
            "is no attention mask: it is read as a real token. attention_mask=… leaves it out",
            errors.PaddingWarning,
        )
    return bool(edges)
