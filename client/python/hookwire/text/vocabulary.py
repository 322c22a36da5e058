"""The vocabulary of a tokenizer: words, ids and special tokens, as Hugging Face names them."""

from __future__ import annotations

import numbers
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import tokenizers

from hookwire import errors, forks
from hookwire.errors import arguments
from hookwire.facts import characters, dtypes, selection
from hookwire.facts.ids import token_ids
from hookwire.text import absent, chat, loading, settings
from hookwire.text.encoding import NO_LIMIT
from hookwire.text.unknown import UnknownWords, listed


class _SpecialToken:
    """The text of a special token, such as `bos_token`; or, with "_id", its id."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._is_id = name.endswith("_id")
        self._kind = name.removesuffix("_id").removesuffix("_token")

    def __get__(self, tokenizer: Vocabulary | None, owner: type) -> Any:
        if tokenizer is None:
            return self
        return tokenizer.token_id(self._kind) if self._is_id else tokenizer.token(self._kind)

    def __set__(self, tokenizer: Vocabulary, value: Any) -> None:
        text = value
        if self._is_id:
            name = f"{self._kind}_token_id"
            (number,) = tokenizer._known(selection.integer(value, name, "a token id"), name)
            text = tokenizer.convert_ids_to_tokens(number)
        tokenizer._set_special(self._kind, text)


@arguments.checked_methods("tokenizer")
class Vocabulary:
    """The words of a tokenizer and its special tokens, with Transformers' methods."""

    is_fast = True
    pad_token_type_id = 0
    add_bos_token = True
    add_eos_token = False

    bos_token = _SpecialToken()
    eos_token = _SpecialToken()
    unk_token = _SpecialToken()
    sep_token = _SpecialToken()
    pad_token = _SpecialToken()
    cls_token = _SpecialToken()
    mask_token = _SpecialToken()
    bos_token_id = _SpecialToken()
    eos_token_id = _SpecialToken()
    unk_token_id = _SpecialToken()
    sep_token_id = _SpecialToken()
    pad_token_id = _SpecialToken()
    cls_token_id = _SpecialToken()
    mask_token_id = _SpecialToken()

    def __init__(self, files: Mapping[str, bytes], name_or_path: str = "") -> None:
        loaded = loading.load(files)
        config = loaded.config
        self._after_fork()
        forks.register(self)
        self._backend = loaded.backend
        self._special = loaded.special
        self.extra_special_tokens = loaded.extra_special
        self._padding_side = loaded.padding_side
        self.truncation_side: str = config.get("truncation_side", "right")
        self.name_or_path = name_or_path
        limit = config.get("model_max_length", config.get("max_len"))
        self.model_max_length = NO_LIMIT if limit is None else int(limit)
        names = config.get("model_input_names") or ["input_ids", "attention_mask"]
        self.model_input_names = list(names)
        self.clean_up_tokenization_spaces = bool(config.get("clean_up_tokenization_spaces", False))
        self.chat_template = chat.template_of(files, config)
        self._find_unknown()
        # Sets of unknown words that a warning has named.
        self._warned_of: set[frozenset[str]] = set()

    def _after_fork(self) -> None:
        # In the parent another thread may hold the old one.
        self._lock = threading.Lock()

    def _find_unknown(self) -> None:
        self._unknown = UnknownWords(self._backend, self.unk_token)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuses settings that would change nothing, and values that a setting cannot have.

        Raises:
            ArgumentError, ArgumentTypeError: a value that the setting cannot have.
            NotInTokenizerError: it says what to do instead.
        """
        settings.check(name, value)
        found = getattr(type(self), name, None)
        if isinstance(found, property):
            refused = found.fset is None
        else:
            refused = name in absent.REASONS or name in absent.UNCHANGED
        if isinstance(found, _SpecialToken) or not refused:
            super().__setattr__(name, value)
        elif name in absent.REASONS or getattr(self, name) != value:
            raise absent.why_not_set(name)

    def __getattr__(self, name: str) -> Any:
        raise absent.why_not(name, [each for each in dir(type(self)) if not each.startswith("_")])

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_unknown")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._after_fork()
        forks.register(self)
        self._find_unknown()

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        return int(self._backend.get_vocab_size())

    @property
    def padding_side(self) -> str:
        """On which side shorter texts of a list are padded: "left" or "right". You may set it."""
        return self._padding_side

    @padding_side.setter
    def padding_side(self, side: str) -> None:
        self._padding_side = side

    # The vocabulary.
    @property
    def backend_tokenizer(self) -> tokenizers.Tokenizer:
        """The `tokenizers.Tokenizer` itself."""
        return self._backend

    @property
    def decoder(self) -> Any:
        """The `tokenizers.decoders.Decoder` of the tokenizer."""
        return self._backend.decoder

    @property
    def vocab_size(self) -> int:
        """The number of words of the vocabulary, without added words."""
        return int(self._backend.get_vocab_size(with_added_tokens=False))

    def get_vocab(self) -> dict[str, int]:
        """Returns every word and its id."""
        return dict(self._backend.get_vocab())

    @property
    def vocab(self) -> dict[str, int]:
        """Every word and its id."""
        return self.get_vocab()

    @property
    def added_tokens_decoder(self) -> dict[int, tokenizers.AddedToken]:
        """The words that were added to the vocabulary, by id."""
        return dict(self._backend.get_added_tokens_decoder())

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """The ids of the words that were added to the vocabulary."""
        return {word.content: number for number, word in sorted(self.added_tokens_decoder.items())}

    def get_added_vocab(self) -> dict[str, int]:
        """Returns the ids of the words that were added to the vocabulary, by word."""
        return self.added_tokens_encoder

    # Special tokens.
    def token(self, kind: str) -> str | None:
        """Returns the text of a special token; None without one.

        Args:
            kind: "bos", "eos", "unk", "sep", "pad", "cls" or "mask".
        """
        return self._special.get(f"{kind}_token")

    def token_id(self, kind: str) -> int | None:
        """Returns the id of a special token; None without one.

        If the vocabulary lacks its text, this is the id of the unknown token, as in Transformers.

        Args:
            kind: as in `token`.
        """
        text = self.token(kind)
        if text is None:
            return None
        found = self._backend.token_to_id(text)
        if found is None and kind != "unk":
            return self.token_id("unk")
        return None if found is None else int(found)

    def _set_special(self, kind: str, text: str) -> None:
        """Chooses another special token of the vocabulary; encoding stays as it is.

        Raises:
            ArgumentError: no word of the vocabulary.
            NotInTokenizerError: encoding itself puts the present one into texts.
        """
        if not isinstance(text, str) or self._backend.token_to_id(text) is None:
            raise errors.ArgumentError(
                f"{kind}_token must be a word of the vocabulary, not {text!r}: {absent.FIXED}"
            )
        if text != self.token(kind) and self._encoding_puts(kind):
            raise absent.why_not_set(f"{kind}_token")
        self._special[f"{kind}_token"] = text

    def _encoding_puts(self, kind: str) -> bool:
        """Whether encoding puts this special token into texts, whatever it is called here."""
        number = self.token_id(kind)
        if number is None:
            return False
        if kind == "unk":
            return number in self._unknown.ids
        if kind == "pad":
            return False  # padding takes the one that is set
        with self._lock:
            return number in self._backend.encode("").ids

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The texts of special tokens by name, such as {"bos_token": "<bos>"}."""
        order = [f"{kind}_token" for kind in loading.SPECIAL]
        names = [*(name for name in order if name in self._special), *self._special]
        return {name: self._special[name] for name in names}

    @property
    def extra_special_tokens_ids(self) -> list[int]:
        """The ids of `extra_special_tokens`."""
        return list(self.convert_tokens_to_ids(self.extra_special_tokens))

    @property
    def all_special_tokens(self) -> list[str]:
        """The texts of all special tokens, each one once."""
        return list(dict.fromkeys([*self.special_tokens_map.values(), *self.extra_special_tokens]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of `all_special_tokens`."""
        return list(self.convert_tokens_to_ids(self.all_special_tokens))

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Returns how many special tokens encoding adds to a text.

        Args:
            pair: to a pair of texts instead.
        """
        return int(self._backend.num_special_tokens_to_add(pair))

    # Words to ids, and back.
    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """Returns the id of a word of the vocabulary, or the ids of several.

        Args:
            tokens: a word as the vocabulary has it, such as "▁store", or a list of words.

        Returns:
            An int, or a list of ints. As in Transformers, a word that the vocabulary lacks has the
            unknown token's id, or None without an unknown token.

        Raises:
            ArgumentTypeError: neither a string nor a list of strings.

        Warns:
            UnknownWordsWarning: the vocabulary lacks a word.
        """
        if not isinstance(tokens, str) and not dtypes.is_iterable(tokens):
            raise errors.ArgumentTypeError(
                "tokens must be a word of the vocabulary, or a list of words, not "
                f"{errors.shown(tokens)}"
            )
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        found = self._backend.token_to_id(characters.check(tokens, "the token"))
        if found is not None:
            return found
        unknown = self.unk_token_id
        if unknown is not None:
            self._warn_of_words([tokens])
        return unknown

    def _warn_of_words(self, words: Sequence[str]) -> None:
        if not words or frozenset(words) in self._warned_of:
            return
        self._warned_of.add(frozenset(words))
        errors.warn(
            f"the tokenizer does not know {listed(words)}: the model sees {self._unknown.seen} "
            "in their place",
            errors.UnknownWordsWarning,
        )

    def _known(self, ids: Any, what: str) -> list[int]:
        """Ids [pos], or one, as a list.

        Raises:
            TokenOutOfRangeError: one that the vocabulary lacks.
        """
        ids = token_ids([ids] if isinstance(ids, numbers.Integral) else ids, what)
        found = [int(token) for token in ids.reshape(-1)]
        for token in found:
            if self._backend.id_to_token(token) is None:
                raise errors.TokenOutOfRangeError(
                    f"{what} has {token}, and the tokenizer has no token of that id; it has "
                    f"{len(self)} tokens"
                )
        return found

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Returns the word of an id as the vocabulary has it, or the words of several.

        Args:
            ids: an id, or ids [pos].
            skip_special_tokens: leave out special tokens.

        Returns:
            A string, or a list of strings.

        Raises:
            TokenOutOfRangeError: the vocabulary does not have an id.
        """
        words = [self._backend.id_to_token(token) for token in self._known(ids, "ids")]
        if isinstance(ids, numbers.Integral):
            return words[0]
        skipped = set(self.all_special_tokens) if skip_special_tokens else ()
        return [word for word in words if word not in skipped]
