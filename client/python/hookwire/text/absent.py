"""What Hugging Face's tokenizers have and Hookwire's does not, and what to use instead."""

from __future__ import annotations

from collections.abc import Iterable

from hookwire import errors
from hookwire.errors.nearest import nearest

FIXED = "the vocabulary is the checkpoint's, which the server computes with, and does not change"
_FILES = "there are no files here: the server has them"
_INSIDE = "it is Transformers' own machinery; use the method that you need it for"
_PAIR = "Gemma reads one text at a time, not pairs"
_TRAIN = "nothing is trained here"

REASONS = {
    "add_special_tokens": FIXED,
    "add_tokens": FIXED,
    "can_save_slow_tokenizer": _FILES,
    "chat_control_tokens": "sanitize_control_tokens is not supported",
    "convert_added_tokens": _INSIDE,
    "convert_to_native_format": _INSIDE,
    "encode_message_with_chat_template": "use apply_chat_template with all messages",
    "encode_plus": "call the tokenizer: tokenizer(text, …)",
    "batch_encode_plus": "call the tokenizer: tokenizer(texts, …)",
    "build_inputs_with_special_tokens": "call the tokenizer with add_special_tokens=True",
    "create_token_type_ids_from_sequences": _PAIR,
    "files_loaded": _FILES,
    "from_pretrained": "hookwire.connect(address).tokenizer is the server's tokenizer",
    "get_response_parser": "answers are not parsed here",
    "get_special_tokens_mask": "call the tokenizer with return_special_tokens_mask=True",
    "init_inputs": _INSIDE,
    "init_kwargs": _INSIDE,
    "max_len_sentences_pair": _PAIR,
    "max_len_single_sentence": "it is model_max_length - num_special_tokens_to_add()",
    "model": "backend_tokenizer.model is the tokenizer's; the language model is on the server",
    "pad": "call the tokenizer with texts and padding=True",
    "parse_response": "answers are not parsed here",
    "prepare_for_model": "call the tokenizer",
    "prepare_seq2seq_batch": "call the tokenizer",
    "pretrained_vocab_files_map": _FILES,
    "push_to_hub": _FILES,
    "register_for_auto_class": _INSIDE,
    "response_template": "answers are not parsed here",
    "save_chat_templates": _FILES,
    "save_pretrained": _FILES,
    "save_vocabulary": _FILES,
    "set_truncation_and_padding": "pass truncation and padding to the call",
    "slow_tokenizer_class": _FILES,
    "split_special_tokens": "special tokens in a text are read as such",
    "train_new_from_iterator": _TRAIN,
    "truncate_sequences": "call the tokenizer with truncation=True and max_length",
    "update_post_processor": FIXED,
    "verbose": "warnings are Python's: filter hookwire.HookwireWarning",
    "vocab_files_names": _FILES,
}

_SPECIAL = (
    "encoding puts the checkpoint's special tokens into texts: add_special_tokens=False of "
    "encode() and of calls, or prepend_bos=False of to_tokens() and of runs, leaves them out"
)
UNCHANGED = {
    "add_bos_token": f"{_SPECIAL}; default_prepend_bos = False does so for every run",
    "add_eos_token": f"{_SPECIAL}; to add one, append tokenizer.eos_token to the text",
    "bos_token": _SPECIAL,
    "cls_token": _SPECIAL,
    "eos_token": _SPECIAL,
    "sep_token": _SPECIAL,
    "mask_token": _SPECIAL,
    "is_fast": "it says of what kind the tokenizer is",
    "pad_token_type_id": "token_type_ids are 0 everywhere",
    "prepends_bos": "it says what the tokenizer does by itself; set default_prepend_bos",
    "unk_token": "encoding puts the vocabulary's own unknown token in place of unknown words",
}
"""Of settings that would have no effect, why; and what to do instead."""


def why_not_set(name: str) -> errors.NotInTokenizerError:
    """The error for setting an attribute that would have no effect."""
    reason = UNCHANGED.get(name) or REASONS.get(name) or FIXED
    return errors.NotInTokenizerError(f"tokenizer.{name} cannot be set: {reason}")


def why_not(name: str, names: Iterable[str]) -> AttributeError:
    """The error for an attribute that the tokenizer does not have.

    Args:
        name: of the attribute.
        names: that it has, for a suggestion.
    """
    reason = REASONS.get(name)
    if reason is None:
        near = nearest(name, names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return errors.NoAttributeError(f"a tokenizer of Hookwire has no attribute {name!r}{hint}")
    return errors.NotInTokenizerError(f"tokenizer.{name} is not here: {reason}")
