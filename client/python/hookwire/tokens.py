"""Text to token ids and back, from the checkpoint's own tokenizer files.

The files come from the server (or from anywhere: a `Tokenizer` needs no server) and run in the
`tokenizers` library. Ids equal those of TransformerLens's `to_tokens`, which loads the tokenizer
with Transformers' `AutoTokenizer` and `add_bos_token=True`. What that does to a checkpoint, beyond
`tokenizer.json`, is done here too; `_load` says what.
"""

from __future__ import annotations

import json
import numbers
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, normalizers, pre_tokenizers, processors

from hookwire import dtypes, errors, forks, inputs, selection
from hookwire.dtypes import Array

SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
# The tokenizer class of Gemma has these where tokenizer_config.json names none.
_GEMMA_SPECIAL = {"unk": "<unk>", "bos": "<bos>", "eos": "<eos>", "pad": "<pad>", "mask": "<mask>"}
# TransformerLens gives this to a tokenizer without an end-of-sequence token.
_FALLBACK_EOS = "<|endoftext|>"


class Tokenizer:
    """The checkpoint's tokenizer.

    Safe to use from several threads.

    Attributes:
        padding_side: "left" or "right": where shorter texts of a list are padded.
        default_prepend_bos: whether texts get a beginning-of-sequence token unless asked otherwise.
        prepends_bos: whether the tokenizer puts it there by itself.
        n_ctx: the most tokens of a text; longer ones are truncated. None: no limit.
    """

    default_prepend_bos = True

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        n_ctx: int | None = None,
        use_torch: bool = False,
    ) -> None:
        """Loads a tokenizer.

        Args:
            files: contents of "tokenizer.json", and of "tokenizer_config.json",
                "special_tokens_map.json" and "added_tokens.json" where the checkpoint has them.
            n_ctx: the most tokens of a text.
            use_torch: return torch tensors.

        Raises:
            NoTokenizerError: there is no tokenizer.json, or it cannot be read.
        """
        config = _json(files, "tokenizer_config.json")
        self.n_ctx = n_ctx
        self._use_torch = use_torch
        self._lock = threading.Lock()
        forks.register(self)
        self._truncation_side = config.get("truncation_side", "right")
        self._special: dict[str, str] = {}
        self._backend, self.padding_side = _load(files, config, self._special)
        self._complete_special_tokens()
        probe = self._encode_plain("a")
        leading = {self.token_id("bos"), self.token_id("cls")} - {None}
        self.prepends_bos = len(probe) > 1 and probe[0] in leading
        eos = self.token_id("eos")
        self._appends_eos = len(probe) > 1 and eos is not None and probe[-1] == eos

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    @property
    def backend(self) -> tokenizers.Tokenizer:
        """The `tokenizers.Tokenizer` itself."""
        return self._backend

    def token(self, kind: str) -> str | None:
        """The text of a special token: "bos", "eos", "unk", "sep", "pad", "cls" or "mask"."""
        return self._special.get(kind)

    def token_id(self, kind: str) -> int | None:
        """The id of a special token; the unknown token's where the vocabulary lacks it."""
        text = self._special.get(kind)
        if text is None:
            return None
        found = self._backend.token_to_id(text)
        if found is None and kind != "unk":
            return self.token_id("unk")
        return found

    @property
    def bos_token_id(self) -> int | None:
        """The id that begins a sequence."""
        return self.token_id("bos")

    @property
    def eos_token_id(self) -> int | None:
        """The id that ends a sequence."""
        return self.token_id("eos")

    @property
    def pad_token_id(self) -> int | None:
        """The id that fills up shorter rows."""
        return self.token_id("pad")

    @property
    def bos_token(self) -> str | None:
        """The text that begins a sequence."""
        return self.token("bos")

    @property
    def eos_token(self) -> str | None:
        """The text that ends a sequence."""
        return self.token("eos")

    @property
    def pad_token(self) -> str | None:
        """The text that fills up shorter rows."""
        return self.token("pad")

    @property
    def vocab_size(self) -> int:
        """Words of the vocabulary, without those that were added to it."""
        return int(self._backend.get_vocab_size(with_added_tokens=False))

    def __len__(self) -> int:
        return int(self._backend.get_vocab_size())

    def get_vocab(self) -> dict[str, int]:
        """Every word, and its id."""
        return dict(self._backend.get_vocab())

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        """Of one id, or of each of several, the word as the vocabulary has it."""
        if isinstance(ids, numbers.Integral):
            return self._backend.id_to_token(int(ids))
        return [self._backend.id_to_token(token) for token in _flat(ids, "ids")]

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """The inverse; the unknown token's id where the vocabulary lacks a word."""
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        found = self._backend.token_to_id(tokens)
        return self.token_id("unk") if found is None else found

    def decode(self, token_ids: Any, skip_special_tokens: bool = False) -> str:
        """Token ids [pos], or one id, to text."""
        return self._decode(_flat(token_ids, "token_ids"), skip_special_tokens)

    def batch_decode(self, sequences: Any, skip_special_tokens: bool = False) -> list[str]:
        """Rows of token ids, [batch, pos] or of several lengths, to texts."""
        return [self.decode(row, skip_special_tokens) for row in sequences]

    def __call__(
        self, text: str | Sequence[str], add_special_tokens: bool = True
    ) -> dict[str, list[Any]]:
        """Text to ids, as the tokenizer does it by itself: lists, without padding.

        Args:
            text: a text, or a list of texts.
            add_special_tokens: those that the tokenizer puts around a text.

        Returns:
            "input_ids" and "attention_mask": of a text a list each, of a list of texts a list of
            lists.
        """
        rows = [self._encode_plain(one, add_special_tokens) for one in _texts(text)]
        masks = [[1] * len(row) for row in rows]
        if isinstance(text, str):
            return {"input_ids": rows[0], "attention_mask": masks[0]}
        return {"input_ids": rows, "attention_mask": masks}

    def _complete_special_tokens(self) -> None:
        """Gives every tokenizer an end, a padding and a beginning token, in the vocabulary."""
        self._special.setdefault("eos", _FALLBACK_EOS)
        self._special.setdefault("pad", self._special["eos"])
        self._special.setdefault("bos", self._special["eos"])
        for kind in ("pad", "eos", "bos"):
            if self.token_id(kind) is None:
                added = tokenizers.AddedToken(self._special[kind], special=True, normalized=False)
                self._backend.add_special_tokens([added])

    def _encode_plain(self, text: str, add_special_tokens: bool = True) -> list[int]:
        ids: list[int] = self._backend.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def _encode_rows(self, texts: Sequence[str], truncate: bool) -> list[list[int]]:
        with self._lock:
            # A batch is spread over threads, which is slow for a single text.
            alone = len(texts) == 1
            encodings = (
                [self._backend.encode(texts[0])]
                if alone
                else self._backend.encode_batch(list(texts))
            )
            limit = self.n_ctx if truncate else None
            if limit is not None and any(len(encoding.ids) > limit for encoding in encodings):
                self._backend.enable_truncation(limit, direction=self._truncation_side)
                try:
                    encodings = self._backend.encode_batch(list(texts))
                finally:
                    self._backend.no_truncation()
        return [encoding.ids for encoding in encodings]

    def encode(
        self,
        texts: Sequence[str],
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
        truncate: bool = True,
    ) -> tuple[Array, Array]:
        """Token ids, and which of them are real.

        Args: as in `to_tokens`.

        Returns:
            Two arrays [batch, pos]: ids (int64), and True where a token is no padding (bool).
        """
        inputs.check_padding_side(padding_side)
        if not texts:
            raise errors.NoSequencesError("there are no texts to tokenize")
        prepend_bos = self.default_prepend_bos if prepend_bos is None else prepend_bos
        side = self.padding_side if padding_side is None else padding_side
        if prepend_bos and not self.prepends_bos:
            bos = self._special["bos"]
            # A fallback token may not be one id here; then its text would do harm.
            if len(self._encode_plain(bos, add_special_tokens=False)) == 1:
                texts = [bos + text for text in texts]
        rows = self._encode_rows(texts, truncate)
        ids, mask = _pad(rows, side, self.pad_token_id or 0)
        if self._appends_eos:
            while ids.shape[1] > 1 and (ids[:, -1] == self.eos_token_id).all():
                ids, mask = ids[:, :-1], mask[:, :-1]
        if not prepend_bos and self.prepends_bos:
            ids, mask = self._without_bos(ids, mask, side)
        return ids, mask

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
        truncate: bool = True,
    ) -> Any:
        """Text to token ids.

        Args:
            input: a text, or a list of texts.
            prepend_bos: whether a beginning-of-sequence token comes first. Default: yes. Pass False
                for what is only a part of a prompt.
            padding_side: "left" or "right": where shorter texts are padded. Default: the
                tokenizer's own.
            move_to_device: has no effect; it is there for TransformerLens's order of arguments.
            truncate: cut texts that have more than `n_ctx` tokens.

        Returns:
            Ids [batch, pos], int64; a single text is a batch of one.

        Raises:
            NoSequencesError: an empty list.
            TypeError: no text.
        """
        del move_to_device
        ids, _ = self.encode(_texts(input), prepend_bos, padding_side, truncate)
        ids = np.ascontiguousarray(ids)
        return dtypes.to_torch(ids) if self._use_torch else ids

    def to_string(self, tokens: Any) -> str | list[str]:
        """Token ids [pos] to text, or [batch, pos] to a list of texts; special tokens included."""
        ids = inputs.token_ids(tokens, "tokens")
        if ids.ndim > 2:
            raise ValueError(f"tokens must be [pos] or [batch, pos], not {list(ids.shape)}")
        if ids.ndim == 2:
            return [self._decode(row) for row in ids.tolist()]
        return self._decode(ids.reshape(-1).tolist())

    def _decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        text: str = self._backend.decode(ids, skip_special_tokens=skip_special_tokens)
        return text

    def to_str_tokens(
        self,
        input: Any,  # noqa: A002 - TransformerLens's name
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
    ) -> Any:
        """Text or token ids to the text of each token.

        Args:
            input: a text, token ids [pos] (or [1, pos]), or a list of such.
            prepend_bos: for a text, as in `to_tokens`.
            padding_side: for a text, as in `to_tokens`.

        Returns:
            A list of strings, one a token (none for an empty text, where TransformerLens returns
            one empty string); for a list of texts or of id rows, a list of such lists.
        """
        if isinstance(input, str):
            ids = self.encode([input], prepend_bos, padding_side)[0][0]
        elif isinstance(input, (list, tuple)) and not all(map(_is_number, input)):
            return [self.to_str_tokens(item, prepend_bos, padding_side) for item in input]
        else:
            ids = inputs.token_ids(input, "input", "text or token ids").squeeze()
            if ids.ndim > 1:
                raise ValueError(f"tokens must be one sequence, not {list(ids.shape)}")
        return [self._decode([token]) for token in ids.reshape(-1).tolist()]

    def to_single_token(self, string: str) -> int:
        """The id of a string that is one token.

        Raises:
            NotASingleTokenError: it is none, or several.
            TypeError: no string.
        """
        if not isinstance(string, str):
            raise TypeError(f"string must be a string, not {dtypes.shown(string)}")
        ids = self.encode([string], prepend_bos=False)[0][0].tolist()
        if len(ids) != 1:
            raise errors.NotASingleTokenError(
                f"{string!r} is not a single token but {len(ids)}: {self.to_str_tokens(ids)}"
            )
        return int(ids[0])

    def to_single_str_token(self, int_token: int) -> str:
        """The text of one id."""
        token = selection.integer(int_token, "int_token", "a token id")
        return self._decode(inputs.token_ids([token], "int_token").tolist())

    def get_token_position(
        self,
        single_token: str | int,
        input: Any,  # noqa: A002 - TransformerLens's name
        mode: str = "first",
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
    ) -> int:
        """Where in a text, or in token ids [pos] or [1, pos], a token stands.

        Args:
            single_token: an id, or a string that is one token.
            input: a text or token ids.
            mode: "first" or "last", where it occurs more than once.
            prepend_bos: for a text, as in `to_tokens`.
            padding_side: for a text, as in `to_tokens`.

        Raises:
            NotASingleTokenError: the string is not one token.
            ValueError: the token does not occur, or another mode.
        """
        if mode not in ("first", "last"):
            raise ValueError(f'mode must be "first" or "last", not {mode!r}')
        if isinstance(single_token, str):
            wanted = self.to_single_token(single_token)
        else:
            wanted = selection.integer(single_token, "single_token", "a token id or a string")
        if isinstance(input, str):
            ids = self.encode([input], prepend_bos, padding_side)[0][0]
        else:
            ids = inputs.token_ids(input, "input", "text or token ids")
            if ids.ndim == 2 and len(ids) == 1:
                ids = ids[0]
            if ids.ndim != 1:
                raise ValueError(f"tokens must be one sequence, not {list(ids.shape)}")
        places = np.flatnonzero(ids == wanted)
        if not places.size:
            raise ValueError(f"the token {single_token!r} does not occur in the input")
        return int(places[0 if mode == "first" else -1])


def _flat(given: Any, what: str) -> list[int]:
    """Token ids [pos], or one, as a list."""
    ids = inputs.token_ids([given] if isinstance(given, numbers.Integral) else given, what)
    return [int(token) for token in ids.reshape(-1)]


def _texts(given: Any) -> list[str]:
    """A text or texts, as a list."""
    texts = [given] if isinstance(given, str) else given
    if isinstance(texts, Iterable):
        texts = list(texts)
        if all(isinstance(text, str) for text in texts):
            return texts
    raise TypeError(f"input must be a text or a list of texts, not {dtypes.shown(given)}")


def _is_number(item: object) -> bool:
    return isinstance(item, (int, float, np.number))


def _json(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    content = files.get(name)
    if content is None:
        return {}
    try:
        parsed = json.loads(content)
    except ValueError as error:
        raise errors.NoTokenizerError(f"the checkpoint's {name} cannot be read: {error}") from None
    return parsed if isinstance(parsed, dict) else {}


def _added(token: Any, special: bool | None = None) -> tokenizers.AddedToken:
    """A token as tokenizer_config.json writes it: a string, or a dict with its flags."""
    if isinstance(token, str):
        return tokenizers.AddedToken(token, special=True)
    flags = ("lstrip", "rstrip", "single_word", "normalized", "special")
    chosen = {key: token[key] for key in flags if key in token}
    if special is not None:
        chosen["special"] = special
    return tokenizers.AddedToken(token["content"], **chosen)


def _load(
    files: Mapping[str, bytes], config: Mapping[str, Any], special: dict[str, str]
) -> tuple[tokenizers.Tokenizer, str]:
    """The backend as Transformers makes it, and the padding side.

    - Special tokens come from tokenizer_config.json, and where that lists no `added_tokens_decoder`
      also from special_tokens_map.json and added_tokens.json; those that the vocabulary lacks are
      added to it.
    - `add_bos_token` and `add_eos_token` of the configuration, and whatever post-processor
      tokenizer.json has, give way to "beginning-of-sequence token, then the text", for that is what
      loading with `add_bos_token=True` means. A token that a template cannot express, because it
      contains ":", leaves the post-processor as it is.
    - Gemma's tokenizer class brings its own normalizer, pre-tokenizer and decoder, names of special
      tokens, and padding on the left.
    """
    content = files.get("tokenizer.json")
    if content is None:
        raise errors.NoTokenizerError(
            "the checkpoint has no tokenizer.json; pass token ids instead"
        )
    try:
        backend = tokenizers.Tokenizer.from_str(content.decode("utf-8"))
    except Exception as error:  # the library raises plain Exception
        raise errors.NoTokenizerError(
            f"the checkpoint's tokenizer.json cannot be read: {error}"
        ) from None
    padding = backend.padding or {}
    backend.no_padding()
    backend.no_truncation()

    is_gemma = str(config.get("tokenizer_class", "")).removesuffix("Fast") == "GemmaTokenizer"
    named: dict[str, Any] = {f"{k}_token": v for k, v in _GEMMA_SPECIAL.items() if is_gemma}
    if padding.get("pad_token"):
        named["pad_token"] = padding["pad_token"]
    named.update({k: v for k, v in config.items() if k.endswith("_token") and _is_token(v)})
    listed = config.get("added_tokens_decoder")
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    if listed is None:
        legacy = _json(files, "special_tokens_map.json")
        named.update({k: v for k, v in legacy.items() if k.endswith("_token") and _is_token(v)})
        extra = [*_values(extra), *_values(legacy.get("extra_special_tokens") or [])]
        _add_legacy(backend, _json(files, "added_tokens.json"), [*named.values(), *extra])
    for kind in SPECIAL:
        token = named.get(f"{kind}_token")
        if token is not None:
            special[kind] = token if isinstance(token, str) else token["content"]

    for _, token in sorted((listed or {}).items(), key=lambda item: int(item[0])):
        backend.add_tokens([_added(token)])
    present = {token.content for token in backend.get_added_tokens_decoder().values()}
    for token in [*named.values(), *_values(extra)]:
        added = _added(token, special=True)
        if added.content not in present:
            backend.add_tokens([added])

    if is_gemma:
        _make_gemma(backend, special)
    _set_template(backend, special.get("bos"))
    side = config.get("padding_side") or padding.get("direction")
    return backend, side or ("left" if is_gemma else "right")


def _add_legacy(
    backend: tokenizers.Tokenizer, added: Mapping[str, int], special: Sequence[Any]
) -> None:
    """Adds what an old added_tokens.json lists and tokenizer.json does not."""
    named = {token if isinstance(token, str) else token["content"] for token in special}
    present = {token.content for token in backend.get_added_tokens_decoder().values()}
    for content, _ in sorted(added.items(), key=lambda item: item[1]):
        if content not in present:
            is_special = content in named
            flags = {"special": is_special, "normalized": not is_special}
            backend.add_tokens([tokenizers.AddedToken(content, **flags)])


def _values(tokens: Any) -> list[Any]:
    return list(tokens.values()) if isinstance(tokens, Mapping) else list(tokens)


def _is_token(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, Mapping) and "content" in value)


def _make_gemma(backend: tokenizers.Tokenizer, special: Mapping[str, str]) -> None:
    model = backend.model
    if isinstance(model, tokenizers.models.BPE):
        model.fuse_unk = True
        model.byte_fallback = True
        model.unk_token = special["unk"]
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous", invert=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )


def _set_template(backend: tokenizers.Tokenizer, bos: str | None) -> None:
    if bos is None:
        backend.post_processor = processors.TemplateProcessing(
            single="$A:0", pair="$A:0 $B:1", special_tokens=[]
        )
        return
    if ":" in bos:
        return
    backend.post_processor = processors.TemplateProcessing(
        single=f"{bos}:0 $A:0",
        pair=f"{bos}:0 $A:0 {bos}:1 $B:1",
        special_tokens=[(bos, backend.token_to_id(bos))],
    )


def _pad(rows: Sequence[Sequence[int]], side: str, pad_id: int) -> tuple[Array, Array]:
    width = max(map(len, rows))
    ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=bool)
    for number, row in enumerate(rows):
        start = width - len(row) if side == "left" else 0
        ids[number, start : start + len(row)] = row
        mask[number, start : start + len(row)] = True
    return ids, mask
