"""Text to token ids and back, from the checkpoint's own tokenizer files.

The files come from the server (or from anywhere: a `Tokenizer` needs no server) and run in the
`tokenizers` library. Ids equal those of TransformerLens's `to_tokens`, which loads the tokenizer
with Transformers' `AutoTokenizer` and `add_bos_token=True`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tokenizers

from hookwire import errors
from hookwire.errors import arguments
from hookwire.facts import dtypes, selection
from hookwire.facts.dtypes import Array
from hookwire.facts.ids import check_padding_side, token_ids
from hookwire.text.encoding import BatchEncoding, Lengths
from hookwire.text.hugging_face import HuggingFaceTokenizer, as_texts
from hookwire.text.loading import SPECIAL
from hookwire.text.unknown import listed

__all__ = ["SPECIAL", "BatchEncoding", "Tokenizer"]


# What users set on a tokenizer, besides its special tokens.
_SETTINGS = (
    "default_prepend_bos",
    "padding_side",
    "truncation_side",
    "model_max_length",
    "chat_template",
    "clean_up_tokenization_spaces",
)
# Those of them that mean the same for every tokenizer.
PORTABLE_SETTINGS = frozenset({"default_prepend_bos", "padding_side", "truncation_side"})


@arguments.checked_methods("tokenizer", "__init__")
class Tokenizer(HuggingFaceTokenizer):
    """The checkpoint's tokenizer, with the methods of TransformerLens and of Hugging Face.

    `tokenizer(text, …)`, `encode`, `decode`, `tokenize`, `apply_chat_template` and the like take
    and return what Transformers' do; `to_tokens`, `to_string` and the like, what TransformerLens's
    do. A feature of Transformers that is missing here raises NotInTokenizerError with the reason.

    Safe to use from several threads.

    Attributes:
        padding_side: "left" or "right": on which side shorter texts of a list are padded.
        default_prepend_bos: whether texts get a beginning-of-sequence token unless asked otherwise.
        n_ctx: the most tokens of a text; longer ones are cut, with a warning. None: no limit.
    """

    default_prepend_bos = True

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        n_ctx: int | None = None,
        use_torch: bool = False,
        name_or_path: str = "",
    ) -> None:
        """Loads a tokenizer.

        Args:
            files: contents of "tokenizer.json", and of "tokenizer_config.json",
                "special_tokens_map.json", "added_tokens.json" and "chat_template.jinja" if the
                checkpoint has them.
            n_ctx: the most tokens of a text. Default: no limit.
            use_torch: return torch tensors; False: NumPy arrays.
            name_or_path: the name of the tokenizer, for messages.

        Raises:
            NoTokenizerError: there is no tokenizer.json, or it cannot be read.
        """
        if not isinstance(files, Mapping):
            raise errors.ArgumentTypeError(
                'files must be the contents of files by name, such as {"tokenizer.json": b"…"}, '
                f"not {errors.shown(files)}"
            )
        super().__init__(files, name_or_path)
        self.n_ctx = n_ctx
        self._use_torch = use_torch
        probe = self._plain("a")
        leading = {self.token_id("bos"), self.token_id("cls")} - {None}
        self._prepends_bos = len(probe) > 1 and probe[0] in leading
        eos = self.token_id("eos")
        self._appends_eos = len(probe) > 1 and eos is not None and probe[-1] == eos
        self._loaded = self._settings()

    @property
    def prepends_bos(self) -> bool:
        """Whether the tokenizer itself puts a beginning-of-sequence token before a text."""
        return self._prepends_bos

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _SETTINGS} | {"_special": dict(self._special)}

    def changes(self) -> dict[str, Any]:
        """Returns the settings that were changed since it was loaded, by name, for `change`."""
        return {
            name: value for name, value in self._settings().items() if value != self._loaded[name]
        }

    def change(self, changes: Mapping[str, Any]) -> None:
        """Makes the same changes to the settings as another tokenizer of the same files has.

        Args:
            changes: the `changes()` of the other tokenizer.
        """
        for name, value in changes.items():
            setattr(self, name, value)

    @property
    def backend(self) -> tokenizers.Tokenizer:
        """The `tokenizers.Tokenizer` itself."""
        return self._backend

    def _plain(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """The ids of a text of the tokenizer's own; [] where it cannot encode it."""
        try:
            ids: list[int] = self._encodings([text], add_special_tokens)[0].ids
        except errors.HookwireError:
            return []
        return ids

    def encode_rows(
        self,
        texts: Sequence[str],
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
        truncate: bool | None = None,
    ) -> tuple[Array, Array]:
        """Encodes texts as token ids, and says which of them are real.

        Args:
            texts: a list of texts.
            prepend_bos: as in `to_tokens`.
            padding_side: as in `to_tokens`.
            truncate: as in `to_tokens`.

        Returns:
            Two NumPy arrays [batch, pos]: ids, int64; and bools, True at real tokens and False at
            padding.

        Raises:
            NoSequencesError: an empty list.
        """
        rows = self._rows(texts, prepend_bos, truncate)
        prepend_bos = self.default_prepend_bos if prepend_bos is None else prepend_bos
        check_padding_side(padding_side)
        side = self.padding_side if padding_side is None else padding_side
        ids, mask = _pad(rows, side, self.pad_token_id or 0)
        if self._appends_eos:
            while ids.shape[1] > 1 and (ids[:, -1] == self.eos_token_id).all():
                ids, mask = ids[:, :-1], mask[:, :-1]
        if not prepend_bos and self.prepends_bos:
            ids, mask = self._without_bos(ids, mask, side)
        return ids, mask

    def _rows(
        self, texts: Sequence[str], prepend_bos: bool | None, truncate: bool | None
    ) -> list[list[int]]:
        """The ids of each text.

        Warns:
            TruncatedWarning, UnknownWordsWarning: as in `to_tokens`.
        """
        if not texts:
            raise errors.NoSequencesError("there are no texts to tokenize")
        prepend_bos = self.default_prepend_bos if prepend_bos is None else prepend_bos
        texts = self._with_bos(texts, prepend_bos)
        encodings = self._encoded(texts, prepend_bos, truncate)
        self._warn_of_unknown(texts, encodings)
        return [encoding.ids for encoding in encodings]

    def _with_bos(self, texts: Sequence[str], prepend_bos: bool) -> Sequence[str]:
        """The texts with a beginning-of-sequence token, where the tokenizer puts none there."""
        if not prepend_bos or self.prepends_bos:
            return texts
        bos = self._special["bos_token"]
        # A fallback token may not be one id here; then its text would do harm.
        is_one = len(self._plain(bos, add_special_tokens=False)) == 1
        return [bos + text for text in texts] if is_one else texts

    def _encoded(
        self, texts: Sequence[str], prepend_bos: bool, truncate: bool | None
    ) -> Sequence[Any]:
        """The encoding of each text; warns of those that are cut, where nobody asked for that."""
        limit = self.n_ctx if truncate is None or truncate else None
        encodings = self._encodings(texts, lengths=Lengths(truncate_to=limit))
        cut = [number for number, encoding in enumerate(encodings) if encoding.overflowing]
        if cut and truncate is None:
            # The one that the tokenizer puts there is taken away again, if it is not wanted.
            unwanted = 0 if prepend_bos or not self.prepends_bos else 1
            whole = [len(self._encodings([texts[number]])[0].ids) - unwanted for number in cut]
            self._warn_of_cut(cut, whole, len(texts))
        return encodings

    def _warn_of_cut(self, cut: Sequence[int], lengths: Sequence[int], count: int) -> None:
        """Warns of texts that are longer than the model's context.

        Args:
            cut: their numbers in the input.
            lengths: their tokens.
            count: how many texts there are.
        """
        if count == 1:
            what = f"the text has {lengths[0]:,} tokens"
        else:
            shown = [
                f"text {number} has {length:,} tokens"
                for number, length in zip(cut[:3], lengths, strict=False)
            ]
            more = len(cut) - len(shown)
            what = ", ".join(shown) + (f" and {more} more are too long" if more else "")
        end = "beginning" if self.truncation_side == "left" else "end"
        errors.warn(
            f"{what}, and the model's context is n_ctx={self.n_ctx:,}: the {end} is cut off. Pass "
            "less text; or pass what to_tokens(text, truncate=True) gives, which cuts without this "
            "warning, or to_tokens(text, truncate=False), which does not cut, so that the server "
            "refuses it",
            errors.TruncatedWarning,
        )

    def _without_bos(self, ids: Array, mask: Array, side: str) -> tuple[Array, Array]:
        if side == "right":
            return ids[:, 1:], mask[:, 1:]
        # The first real token of each row, wherever its padding ends.
        keep = np.ones_like(mask)
        keep[np.arange(len(ids)), mask.argmax(axis=1)] = False
        shape = (ids.shape[0], ids.shape[1] - 1)
        return ids[keep].reshape(shape), mask[keep].reshape(shape)

    def to_tokens(
        self,
        input: str | Sequence[str],  # noqa: A002 - TransformerLens's name
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
        move_to_device: bool = True,
        truncate: bool | None = None,
    ) -> Any:
        """Encodes text as token ids.

        Args:
            input: a text, or a list of texts.
            prepend_bos: put a beginning-of-sequence token first. Default: `default_prepend_bos`.
                Pass False for a text that is only a part of a prompt.
            padding_side: "left" or "right": on which side shorter texts are padded. Default: the
                tokenizer's `padding_side`.
            move_to_device: has no effect; it keeps TransformerLens's order of arguments.
            truncate: True: cut texts that have more than `n_ctx` tokens; False: do not. Default:
                cut, with a warning.

        Returns:
            Ids [batch, pos], int64; a single text is a batch of one.

        Warns:
            TruncatedWarning: a text was cut, and `truncate` was not given.
            UnknownWordsWarning: the vocabulary lacks a word.

        Raises:
            NoSequencesError: an empty list.
            ArgumentTypeError: neither a text nor a list of texts.
            UnknownWordError: the vocabulary lacks a word, and there is no unknown token.
        """
        del move_to_device
        ids, _ = self.encode_rows(as_texts(input), prepend_bos, padding_side, truncate)
        ids = np.ascontiguousarray(ids)
        return dtypes.to_torch(ids) if self._use_torch else ids

    def to_string(self, tokens: Any) -> str | list[str]:
        """Decodes token ids to text, special tokens included.

        Args:
            tokens: ids [pos] or [batch, pos].

        Returns:
            A string for [pos]; a list of strings for [batch, pos].

        Raises:
            TokenOutOfRangeError: the vocabulary does not have an id.
            ArgumentError: ids of another shape.
        """
        ids = token_ids(tokens, "tokens")
        if ids.ndim > 2:
            raise errors.ArgumentError(
                f"tokens must be [pos] or [batch, pos], not {list(ids.shape)}"
            )
        if ids.ndim == 2:
            return [self._decode(self._known(row, "tokens")) for row in ids.tolist()]
        return self._decode(self._known(ids, "tokens"))

    def to_str_tokens(
        self,
        input: Any,  # noqa: A002 - TransformerLens's name
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
    ) -> Any:
        """Returns the text of each token of a text, or of token ids.

        Args:
            input: a text, token ids [pos] or [1, pos], or a list of these.
            prepend_bos: for text: as in `to_tokens`.
            padding_side: for text: as in `to_tokens`.

        Returns:
            A list with a string for each token; for a list of texts or of rows of ids, a list of
            such lists. For an empty text, the list is empty; TransformerLens returns one empty
            string.

        Raises:
            TokenOutOfRangeError: the vocabulary does not have an id.
        """
        if isinstance(input, (list, tuple)) and not all(map(_is_number, input)):
            texts = [item for item in input if isinstance(item, str)]
            if texts:  # warns once of all that are cut
                wants_bos = self.default_prepend_bos if prepend_bos is None else prepend_bos
                self._encoded(self._with_bos(texts, wants_bos), wants_bos, None)
            return [self._str_tokens(item, prepend_bos, padding_side, True) for item in input]
        return self._str_tokens(input, prepend_bos, padding_side, None)

    def _str_tokens(
        self,
        given: Any,
        prepend_bos: bool | None,
        padding_side: str | None,
        truncate: bool | None,
    ) -> Any:
        if isinstance(given, str):
            ids = self.encode_rows([given], prepend_bos, padding_side, truncate)[0][0]
        elif isinstance(given, (list, tuple)) and not all(map(_is_number, given)):
            return self.to_str_tokens(given, prepend_bos, padding_side)
        else:
            ids = token_ids(given, "input", "text or token ids").squeeze()
            if ids.ndim > 1:
                raise errors.ArgumentError(f"tokens must be one sequence, not {list(ids.shape)}")
        return [self._decode([token]) for token in self._known(ids, "input")]

    def to_single_token(self, string: str) -> int:
        """Returns the id of a string that is one token.

        Args:
            string: the text of the token, with its leading space if it has one: " Mary".

        Raises:
            NotASingleTokenError: the string is not exactly one token, or the vocabulary lacks it.
            ArgumentTypeError: not a string.
        """
        if not isinstance(string, str):
            raise errors.ArgumentTypeError(f"string must be a string, not {errors.shown(string)}")
        encoding = self._encodings([string])[0]
        unknown = self._unknown.in_encoding(string, encoding)
        if unknown:
            raise errors.NotASingleTokenError(
                f"{string!r} is not a token: the vocabulary lacks {listed(unknown)}"
            )
        ids = self.encode_rows([string], prepend_bos=False, truncate=False)[0][0].tolist()
        if not ids:
            raise errors.NotASingleTokenError(
                f"{string!r} is not a token: the tokenizer makes no token from it"
            )
        if len(ids) != 1:
            raise errors.NotASingleTokenError(
                f"{string!r} is not a single token but {len(ids)}: {self.to_str_tokens(ids)}"
            )
        return int(ids[0])

    def to_single_str_token(self, int_token: int) -> str:
        """Returns the text of one token id.

        Args:
            int_token: the id.

        Raises:
            TokenOutOfRangeError: the vocabulary does not have it.
            ArgumentTypeError: not an int.
        """
        token = selection.integer(int_token, "int_token", "a token id")
        return self._decode(self._known(token, "int_token"))

    def get_token_position(
        self,
        single_token: str | int,
        input: Any,  # noqa: A002 - TransformerLens's name
        mode: str = "first",
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
    ) -> int:
        """Returns the position of a token in a text or in token ids, counted from 0.

        Args:
            single_token: an id, or a string that is one token.
            input: a text, or token ids [pos] or [1, pos].
            mode: "first" or "last": which position, if the token occurs more than once.
            prepend_bos: for text: as in `to_tokens`.
            padding_side: for text: as in `to_tokens`.

        Raises:
            NotASingleTokenError: the string is not one token.
            ArgumentError: the token does not occur, or `mode` is another word.
        """
        if mode not in ("first", "last"):
            raise errors.ArgumentError(f'mode must be "first" or "last", not {mode!r}')
        if isinstance(single_token, str):
            wanted = self.to_single_token(single_token)
        else:
            wanted = selection.integer(single_token, "single_token", "a token id or a string")
        if isinstance(input, str):
            ids = self.encode_rows([input], prepend_bos, padding_side)[0][0]
        else:
            ids = token_ids(input, "input", "text or token ids")
            if ids.ndim == 2 and len(ids) == 1:
                ids = ids[0]
            if ids.ndim != 1:
                raise errors.ArgumentError(f"tokens must be one sequence, not {list(ids.shape)}")
        places = np.flatnonzero(ids == wanted)
        if not places.size:
            raise errors.ArgumentError(f"the token {single_token!r} does not occur in the input")
        return int(places[0 if mode == "first" else -1])


def _is_number(item: object) -> bool:
    return isinstance(item, (int, float, np.number))


def _pad(rows: Sequence[Sequence[int]], side: str, pad_id: int) -> tuple[Array, Array]:
    width = max(map(len, rows))
    ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=bool)
    for number, row in enumerate(rows):
        start = width - len(row) if side == "left" else 0
        ids[number, start : start + len(row)] = row
        mask[number, start : start + len(row)] = True
    return ids, mask
