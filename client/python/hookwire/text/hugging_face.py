"""The surface of Hugging Face's fast tokenizers over a checkpoint's tokenizer.

Names, arguments, defaults and answers are those of Transformers' `PreTrainedTokenizerFast`, loaded
with `add_bos_token=True` as TransformerLens does. What it has and this has not raises with a reason
(`hookwire.text.absent`). Three answers differ: ids that the vocabulary lacks raise where
Transformers leaves them out, words that it lacks draw a warning, and rows of different lengths make
no tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tokenizers

from hookwire import errors
from hookwire.errors import arguments
from hookwire.facts import characters, dtypes, selection
from hookwire.facts.ids import check_padding_side
from hookwire.text import chat
from hookwire.text.encoding import BatchEncoding, Lengths, tensor
from hookwire.text.vocabulary import Vocabulary

# Arguments of Transformers' calls that are none here: the value that changes nothing, and why not.
_NOT_HERE: dict[str, tuple[Any, str]] = {
    "text_pair": (None, "Gemma reads one text at a time, not pairs"),
    "text_target": (None, "Gemma has no decoder texts of its own"),
    "text_pair_target": (None, "Gemma has no decoder texts of its own"),
    "stride": (0, "what truncation cuts off is not returned"),
    "return_overflowing_tokens": (False, "what truncation cuts off is not returned"),
    "is_split_into_words": (False, "pass whole texts"),
    "split_special_tokens": (False, "special tokens in a text are read as such"),
    "sanitize_control_tokens": (False, "special tokens in a text are read as such"),
}
_CLEAN_UP = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


@arguments.checked_methods("tokenizer")
class HuggingFaceTokenizer(Vocabulary):
    """See `hookwire.Tokenizer`."""

    # Text to ids.
    def _encodings(
        self,
        texts: Sequence[str],
        add_special_tokens: bool = True,
        lengths: Lengths = Lengths(),  # noqa: B008 - it is immutable
        padding_side: str | None = None,
        pad_to_multiple_of: int | None = None,
    ) -> list[Any]:
        """A `tokenizers.Encoding` for each text; warns of words that the vocabulary lacks.

        Raises:
            ArgumentError: a text that is no valid Unicode.
            UnknownWordError: a word that the vocabulary lacks, and there is no unknown token.
        """
        for text in texts:
            characters.check(text, "the text")
        backend = self._backend
        with self._lock:
            try:
                if lengths.truncate_to is not None:
                    backend.enable_truncation(lengths.truncate_to, direction=self.truncation_side)
                if lengths.pads:
                    backend.enable_padding(
                        direction=padding_side or self.padding_side,
                        pad_id=self.pad_token_id or 0,
                        pad_token=self.pad_token or "",
                        length=lengths.pad_to,
                        pad_to_multiple_of=pad_to_multiple_of,
                    )
                # A batch is spread over threads, which is slow for a single text.
                encodings = (
                    [backend.encode(texts[0], add_special_tokens=add_special_tokens)]
                    if len(texts) == 1
                    else backend.encode_batch(list(texts), add_special_tokens=add_special_tokens)
                )
            except Exception as error:  # the library raises plain Exception
                raise self._unknown.why_not(texts, error) from None
            finally:
                backend.no_truncation()
                backend.no_padding()
        return list(encodings)

    def _warn_of_unknown(self, texts: Sequence[str], encodings: Sequence[Any]) -> None:
        """Warns once of each set of words that the vocabulary lacks."""
        words: list[str] = []
        for text, encoding in zip(texts, encodings, strict=True):
            words += self._unknown.in_encoding(text, encoding)
        self._warn_of_words(words)

    def __call__(
        self,
        text: str | Sequence[str],
        text_pair: Any = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        padding_side: str | None = None,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        **others: Any,
    ) -> BatchEncoding:
        """Encodes text as token ids, with Transformers' arguments and defaults.

        Args:
            text: a text, or a list of texts.
            text_pair: not supported: must be None.
            add_special_tokens: add the tokens that the tokenizer puts around a text.
            padding: True or "longest": pad to the longest row; "max_length": pad to `max_length`;
                False: do not pad.
            truncation: True: cut rows to `max_length` tokens; False: do not. Default: cut if
                `max_length` is given and `padding` is not.
            max_length: in tokens. Default: the tokenizer's `model_max_length`.
            padding_side: "left" or "right". Default: the tokenizer's.
            pad_to_multiple_of: pad rows to a multiple of this number of tokens. Default: do not.
            return_tensors: "pt" or "np". Default: lists.
            return_token_type_ids: add "token_type_ids", zeros [batch, pos]. Default: if
                `model_input_names` has it.
            return_attention_mask: add "attention_mask", 1 at real tokens and 0 at padding. Default:
                if `model_input_names` has it.
            return_special_tokens_mask: add "special_tokens_mask", 1 at special tokens.
            return_offsets_mapping: add "offset_mapping", the start and end of each token in the
                text, in characters.
            return_length: add "length", the number of tokens of each row.
            verbose: has no effect.
            **others: other arguments of Transformers. They raise an error unless they have no
                effect.

        Returns:
            A dict with "input_ids", "attention_mask" and the other items that were asked for: for a
            single text without `return_tensors`, lists [pos]; otherwise [batch, pos].

        Raises:
            NoSequencesError: an empty list of texts.
            UnsupportedError: an argument that is not supported.
            ArgumentError, ArgumentTypeError: an argument that cannot be.
            UnknownWordError: the vocabulary lacks a word, and there is no unknown token.

        Warns:
            UnknownWordsWarning: the vocabulary lacks a word.
        """
        del verbose
        _refuse("tokenizer", self.__call__, {"text_pair": text_pair or None, **others})
        selection.one_of(return_tensors, (None, "pt", "np"), "return_tensors")
        check_padding_side(padding_side)
        if pad_to_multiple_of is not None:
            selection.integer(pad_to_multiple_of, "pad_to_multiple_of", "a number of tokens")
        texts = as_texts(text, "text")
        if not texts:
            raise errors.NoSequencesError("there are no texts to tokenize")
        lengths = Lengths.of(padding, truncation, max_length, self.model_max_length)
        rows = self._encodings(texts, add_special_tokens, lengths, padding_side, pad_to_multiple_of)
        self._warn_of_unknown(texts, rows)
        chosen = {
            "token_type_ids": return_token_type_ids,
            "attention_mask": return_attention_mask,
        }
        wanted = {
            name: name in self.model_input_names if value is None else value
            for name, value in chosen.items()
        }
        values: dict[str, Any] = {"input_ids": [row.ids for row in rows]}
        if wanted["token_type_ids"]:
            values["token_type_ids"] = [row.type_ids for row in rows]
        if wanted["attention_mask"]:
            values["attention_mask"] = [row.attention_mask for row in rows]
        if return_special_tokens_mask:
            values["special_tokens_mask"] = [row.special_tokens_mask for row in rows]
        if return_offsets_mapping:
            values["offset_mapping"] = [row.offsets for row in rows]
        if return_tensors is not None:
            values = {name: tensor(v, return_tensors, name) for name, v in values.items()}
        elif isinstance(text, str):
            values = {name: value[0] for name, value in values.items()}
        if return_length:
            counts = [len(row.ids) for row in rows]
            values["length"] = (
                counts if return_tensors is None else tensor([counts], return_tensors, "length")[0]
            )
        return BatchEncoding(values, rows)

    def encode(
        self,
        text: str | Sequence[str],
        text_pair: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        **others: Any,
    ) -> Any:
        """Encodes text, and returns the ids alone.

        The same as the `input_ids` of `tokenizer(…)` with these arguments.

        Args:
            text: a text, or a list of texts.
            text_pair: not supported: must be None.
            add_special_tokens: as in `tokenizer(text, …)`.
            padding: as in `tokenizer(text, …)`.
            truncation: as in `tokenizer(text, …)`. Default: as there.
            max_length: in tokens. Default: the tokenizer's `model_max_length`.
            stride: must be 0.
            padding_side: "left" or "right". Default: the tokenizer's.
            return_tensors: "pt" or "np". Default: a list.
            **others: as in `tokenizer(text, …)`.

        Returns:
            For a single text without `return_tensors`, a list [pos]; otherwise [batch, pos].
        """
        return self(
            text,
            text_pair,
            add_special_tokens=add_special_tokens,
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            stride=stride,
            padding_side=padding_side,
            return_tensors=return_tensors,
            **others,
        )["input_ids"]

    def tokenize(
        self, text: str, pair: Any = None, add_special_tokens: bool = False, **others: Any
    ) -> list[str]:
        """Splits a text into words of the vocabulary.

        Args:
            text: a text.
            pair: not supported: must be None.
            add_special_tokens: add the tokens that the tokenizer puts around a text.
            **others: as in `tokenizer(text, …)`.

        Returns:
            The words, as the vocabulary has them.

        Raises:
            ArgumentTypeError: `text` is not a string.
        """
        if not isinstance(text, str):
            raise errors.ArgumentTypeError(f"text must be a string, not {errors.shown(text)}")
        return self(text, pair, add_special_tokens=add_special_tokens, **others).tokens()

    # Ids to text.
    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Joins words of the vocabulary to a text.

        Args:
            tokens: words as the vocabulary has them, such as "▁store".
        """
        tokens = as_texts(tokens, "tokens")
        decoder = self._backend.decoder
        return " ".join(tokens) if decoder is None else str(decoder.decode(list(tokens)))

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **others: Any,
    ) -> Any:
        """Decodes token ids to text.

        Args:
            token_ids: one id, ids [pos], or rows of ids: numbers, lists, arrays or tensors; or what
                `tokenizer(text, …)` returns.
            skip_special_tokens: leave out special tokens.
            clean_up_tokenization_spaces: remove spaces before punctuation and English contractions;
                has no effect with a BPE vocabulary. Default: the checkpoint's setting.
            **others: other arguments raise an error.

        Returns:
            A string; for rows, a list of strings.

        Raises:
            TokenOutOfRangeError: the vocabulary does not have an id.
        """
        _refuse("tokenizer.decode", self.decode, others)
        return self._decoded(
            token_ids, "token_ids", skip_special_tokens, clean_up_tokenization_spaces
        )

    def _decoded(
        self, ids: Any, what: str, skip_special_tokens: bool, clean_up: bool | None
    ) -> Any:
        """As `decode`; `what` is the argument that has the ids."""
        if isinstance(ids, Mapping):
            ids = ids["input_ids"]
        if _is_rows(ids):
            return [self._decoded(row, what, skip_special_tokens, clean_up) for row in ids]
        text = self._decode(self._known(ids, what), skip_special_tokens)
        if clean_up is None:
            clean_up = self.clean_up_tokenization_spaces
        is_bpe = isinstance(self._backend.model, tokenizers.models.BPE)
        return self.clean_up_tokenization(text) if clean_up and not is_bpe else text

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **others: Any,
    ) -> list[str]:
        """Decodes rows of token ids to texts.

        Args:
            sequences: token ids [batch, pos], or lists that may differ in length.
            skip_special_tokens: leave out special tokens.
            clean_up_tokenization_spaces: as in `decode`.
            **others: other arguments raise an error.

        Returns:
            A text for each row.

        Raises:
            TokenOutOfRangeError: the vocabulary does not have an id.
        """
        _refuse("tokenizer.batch_decode", self.batch_decode, others)
        found = self._decoded(
            sequences, "sequences", skip_special_tokens, clean_up_tokenization_spaces
        )
        return [found] if isinstance(found, str) else found

    def _decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        return str(self._backend.decode(ids, skip_special_tokens=skip_special_tokens))

    @staticmethod
    def clean_up_tokenization(text: str) -> str:
        """Returns a text without spaces before punctuation and English contractions.

        Args:
            text: the text.
        """
        for mark in _CLEAN_UP:
            text = text.replace(mark, mark.strip())
        return text

    # Chats.
    def get_chat_template(self, chat_template: str | None = None, tools: Any = None) -> str:
        """Returns the chat template, as Jinja text.

        Args:
            chat_template: a template, which is returned, or the name of one of the checkpoint's.
                Default: the checkpoint's.
            tools: with tools, a checkpoint's template "tool_use" is the default.

        Raises:
            ChatTemplateError: there is none.
        """
        return chat.choose(self.chat_template, chat_template, tools)

    def apply_chat_template(
        self,
        conversation: Any,
        tools: Sequence[dict[str, Any]] | None = None,
        documents: Sequence[dict[str, str]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        tokenize: bool = True,
        sanitize_control_tokens: bool = False,
        padding: bool | str = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        return_dict: bool = True,
        return_assistant_tokens_mask: bool = False,
        tokenizer_kwargs: dict[str, Any] | None = None,
        **variables: Any,
    ) -> Any:
        """Formats a chat with the checkpoint's template, and encodes it.

        Needs jinja2: `pip install hookwire[chat]`.

        Args:
            conversation: a list of messages, dicts with "role" and "content"; or a list of such
                lists.
            tools: JSON schemas of functions that the model may call. Default: none.
            documents: dicts with "title" and "text". Default: none.
            chat_template: a Jinja template, or the name of one of the checkpoint's. Default: the
                checkpoint's.
            add_generation_prompt: end with the beginning of the model's answer.
            continue_final_message: leave the last message open, so that the model continues it; a
                string names the field of the message to continue.
            tokenize: return ids; False: return the text.
            sanitize_control_tokens: not supported: must be False.
            padding: as in `tokenizer(text, …)`.
            truncation: cut to `max_length` tokens.
            max_length: in tokens. Default: the tokenizer's `model_max_length`.
            return_tensors: "pt" or "np". Default: lists.
            return_dict: return a dict as `tokenizer(text, …)` does; False: its "input_ids".
            return_assistant_tokens_mask: not supported: must be False.
            tokenizer_kwargs: more arguments for `tokenizer(text, …)`. Default: none.
            **variables: more variables for the template.

        Returns:
            With `tokenize`, a dict with "input_ids" and "attention_mask", or the ids alone: [pos]
            for one chat without `return_tensors`, otherwise [batch, pos]. Without it, a string, or
            a list of strings for several chats.

        Raises:
            ChatTemplateError: there is no template, it is wrong, or it refuses the messages.
        """
        _refuse(
            "tokenizer.apply_chat_template",
            self.apply_chat_template,
            {"sanitize_control_tokens": sanitize_control_tokens},
        )
        if return_assistant_tokens_mask:
            raise errors.UnsupportedError(
                "return_assistant_tokens_mask is not supported: the template's marks of the "
                "assistant's words are not followed"
            )
        template = self.get_chat_template(chat_template, tools)
        chats, is_batch = chat.conversations(conversation)
        texts = chat.render(
            template,
            chats,
            tools=tools,
            documents=documents,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            variables={**self.special_tokens_map, **variables},
        )
        if not tokenize:
            return texts if is_batch else texts[0]
        answer = self(
            texts if is_batch else texts[0],
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            add_special_tokens=False,
            return_tensors=return_tensors,
            **(tokenizer_kwargs or {}),
        )
        return answer if return_dict else answer["input_ids"]


def _refuse(name: str, method: Callable[..., Any], others: Mapping[str, Any]) -> None:
    """Refuses arguments of Transformers that are none here.

    Args:
        name: of the method, as users write it.
        method: that they were given to.
        others: the arguments.

    Raises:
        UnsupportedError: one that would change something.
        ArgumentTypeError: one that there is not.
    """
    for keyword, value in others.items():
        if keyword not in _NOT_HERE:
            raise arguments.unexpected(name, keyword, arguments.keywords(method))
        nothing, why = _NOT_HERE[keyword]
        if value is not None and value != nothing:
            raise errors.UnsupportedError(f"{keyword} is not supported: {why}")


def _is_rows(ids: Any) -> bool:
    """Whether these are rows of ids, rather than ids."""
    ndim = getattr(ids, "ndim", None)
    if ndim is not None:
        return bool(ndim > 1)
    return isinstance(ids, (list, tuple)) and any(
        isinstance(row, (list, tuple)) or getattr(row, "ndim", 0) > 0 for row in ids
    )


def as_texts(given: Any, what: str = "input") -> list[str]:
    """A text or texts, as a list.

    Args:
        given: what a user gives.
        what: the argument, for messages.

    Raises:
        ArgumentTypeError: anything else.
    """
    texts = [given] if isinstance(given, str) else given
    if dtypes.is_iterable(texts):
        texts = list(texts)
        if all(isinstance(text, str) for text in texts):
            return [str(text) for text in texts]
    raise errors.ArgumentTypeError(
        f"{what} must be a text or a list of texts, not {errors.shown(given)}"
    )
