"""From a checkpoint's tokenizer files to a tokenizer of the `tokenizers` library.

The result equals what Transformers' `AutoTokenizer` makes of the same files with
`add_bos_token=True`, as TransformerLens loads it, and with the special tokens that TransformerLens
adds where a checkpoint names none. `load` says what that does beyond reading `tokenizer.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tokenizers
from tokenizers import decoders, normalizers, pre_tokenizers, processors

from hookwire import errors

SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
# The tokenizer class of Gemma has these where tokenizer_config.json names none.
_GEMMA_SPECIAL = {"unk": "<unk>", "bos": "<bos>", "eos": "<eos>", "pad": "<pad>", "mask": "<mask>"}
# TransformerLens gives this to a tokenizer without an end-of-sequence token.
_FALLBACK_EOS = "<|endoftext|>"


@dataclass(frozen=True)
class Loaded:
    """A tokenizer and what its files say about it.

    Attributes:
        backend: the tokenizer; it neither pads nor truncates.
        config: tokenizer_config.json; empty where there is none.
        special: the texts of special tokens by kind, such as {"bos": "<bos>"}.
        extra_special: special tokens of no kind.
        padding_side: "left" or "right".
    """

    backend: tokenizers.Tokenizer
    config: Mapping[str, Any]
    special: dict[str, str]
    extra_special: list[str]
    padding_side: str


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


def load(files: Mapping[str, bytes]) -> Loaded:
    """A tokenizer as Transformers makes it.

    - Special tokens come from tokenizer_config.json, and where that lists no `added_tokens_decoder`
      also from special_tokens_map.json and added_tokens.json; those that the vocabulary lacks are
      added to it.
    - `add_bos_token` and `add_eos_token` of the configuration, and whatever post-processor
      tokenizer.json has, give way to "beginning-of-sequence token, then the text", for that is what
      loading with `add_bos_token=True` means. A token that a template cannot express, because it
      contains ":", leaves the post-processor as it is.
    - Gemma's tokenizer class brings its own normalizer, pre-tokenizer and decoder, names of special
      tokens, and padding on the left.

    Args:
        files: as in `hookwire.Tokenizer`.

    Raises:
        NoTokenizerError: there is no tokenizer.json, or a file cannot be read.
    """
    config = _json(files, "tokenizer_config.json")
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
        if not isinstance(extra, Mapping):
            extra = [*extra, *_values(legacy.get("extra_special_tokens") or [])]
        everything = [*named.values(), *_values(extra)]
        _add_legacy(backend, _json(files, "added_tokens.json"), everything)
    if isinstance(extra, Mapping):
        # Tokens with names of their own, such as "image_token".
        named.update({k: v for k, v in extra.items() if _is_token(v)})
        extra = []
    special = {f"{kind}_token": "" for kind in SPECIAL if f"{kind}_token" in named}
    special.update({name: _content(token) for name, token in named.items()})

    for _, token in sorted((listed or {}).items(), key=lambda item: int(item[0])):
        backend.add_tokens([_added(token)])
    present = {token.content for token in backend.get_added_tokens_decoder().values()}
    for token in [*named.values(), *extra]:
        added = _added(token, special=True)
        if added.content not in present:
            backend.add_tokens([added])

    if is_gemma:
        _make_gemma(backend, special)
    _set_template(backend, special.get("bos_token"))
    side = config.get("padding_side") or padding.get("direction")
    _complete(backend, special)
    return Loaded(
        backend,
        config,
        special,
        [_content(token) for token in extra],
        side or ("left" if is_gemma else "right"),
    )


def _complete(backend: tokenizers.Tokenizer, special: dict[str, str]) -> None:
    """Gives every tokenizer an end, a padding and a beginning token, in the vocabulary."""
    special.setdefault("eos_token", _FALLBACK_EOS)
    special.setdefault("pad_token", special["eos_token"])
    special.setdefault("bos_token", special["eos_token"])
    unk = special.get("unk_token")
    known = unk is not None and backend.token_to_id(unk) is not None
    for name in ("pad_token", "eos_token", "bos_token"):
        if not known and backend.token_to_id(special[name]) is None:
            added = tokenizers.AddedToken(special[name], special=True, normalized=False)
            backend.add_special_tokens([added])


def _add_legacy(
    backend: tokenizers.Tokenizer, added: Mapping[str, int], special: Sequence[Any]
) -> None:
    """Adds what an old added_tokens.json lists and tokenizer.json does not."""
    named = set(map(_content, special))
    present = {token.content for token in backend.get_added_tokens_decoder().values()}
    for content, _ in sorted(added.items(), key=lambda item: item[1]):
        if content not in present:
            is_special = content in named
            flags = {"special": is_special, "normalized": not is_special}
            backend.add_tokens([tokenizers.AddedToken(content, **flags)])


def _values(tokens: Any) -> list[Any]:
    return list(tokens.values()) if isinstance(tokens, Mapping) else list(tokens)


def _content(token: Any) -> str:
    """The text of a token, which is a string or a dict with its flags."""
    return str(token if isinstance(token, str) else token["content"])


def _is_token(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, Mapping) and "content" in value)


def _make_gemma(backend: tokenizers.Tokenizer, special: Mapping[str, str]) -> None:
    model = backend.model
    if isinstance(model, tokenizers.models.BPE):
        model.fuse_unk = True
        model.byte_fallback = True
        model.unk_token = special["unk_token"]
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
