"""Words that a tokenizer does not know are named, and are never taken for a single token."""

from __future__ import annotations

import json
import warnings

import hookwire
import pytest
from hookwire.text.tokenizer import Tokenizer
from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers

from tests.client import tokenizers_zoo


def tokenizer(backend: Backend, unk: str | None = "<unk>") -> Tokenizer:
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>"}
    if unk is not None:
        config["unk_token"] = unk
    files = {"tokenizer.json": backend.to_str(), "tokenizer_config.json": json.dumps(config)}
    return Tokenizer({name: text.encode() for name, text in files.items()})


def word_level() -> Tokenizer:
    return tokenizer(tokenizers_zoo.word_level())


def bpe(**options: object) -> Tokenizer:
    vocabulary = {token: i for i, token in enumerate(["<unk>", "<bos>", "a", "b", "ab", "▁"])}
    model = models.BPE(vocabulary, [("a", "b")], **options)
    backend = Backend(model)
    backend.normalizer = normalizers.Replace(" ", "▁")
    return tokenizer(backend, "<unk>" if options.get("unk_token") else None)


def unigram() -> Tokenizer:
    pieces = [("<unk>", 0.0), ("<bos>", 0.0), ("▁a", -1.0), ("▁b", -1.0), ("▁", -2.0)]
    backend = Backend(models.Unigram(pieces, 0, False))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer(backend)


def word_piece() -> Tokenizer:
    words = ["<unk>", "<bos>", "a", "##b", "b"]
    model = models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="<unk>")
    backend = Backend(model)
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer(backend)


@pytest.mark.parametrize(
    ("made", "text", "words"),
    [
        (word_level, "Mary saw a Zebra , a Zebra and John", ["saw", "Zebra"]),
        (word_level, "naïve 🙂 text", ["naïve", "🙂", "text"]),
        (lambda: bpe(unk_token="<unk>"), "ab Zeb ab", ["Ze"]),
        (lambda: bpe(unk_token="<unk>", fuse_unk=True), "ab xyz ab Q", ["xyz", "Q"]),
        (bpe, "ab xyz ab Q", ["xyz", "Q"]),
        (unigram, "a Zeta b", ["Zeta"]),
        (word_piece, "AB xyz a", ["xyz"]),
    ],
    ids=["word", "word, not ASCII", "BPE", "BPE, fused", "BPE, drops", "Unigram", "WordPiece"],
)
def test_a_prompt_warns_once_and_names_the_words(made: object, text: str, words: list[str]) -> None:
    ours = made()  # type: ignore[operator]
    with pytest.warns(hookwire.UnknownWordsWarning) as caught:
        ours.to_tokens(text)
    assert len(caught) == 1
    assert ", ".join(map(repr, words)) in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.to_tokens([text] * 3)
        ours(text)
    with pytest.warns(hookwire.UnknownWordsWarning, match="'QQQ'"):
        ours.to_str_tokens("QQQ")


@pytest.mark.parametrize(
    "made",
    [word_level, lambda: bpe(unk_token="<unk>"), bpe, unigram, word_piece],
    ids=["word-level", "BPE", "BPE, drops", "Unigram", "WordPiece"],
)
def test_an_unknown_word_is_no_single_token(made: object) -> None:
    ours = made()  # type: ignore[operator]
    for word in ("Q", "🙂"):
        with pytest.raises(hookwire.NotASingleTokenError, match=word):
            ours.to_single_token(word)
        with pytest.raises(hookwire.NotASingleTokenError, match=word):
            ours.get_token_position(word, [2, 3, 4])


def test_what_is_known_or_meant_draws_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert word_level().to_tokens("<unk> Mary <unk>", False)[0].tolist() == [3, 5, 3]
        assert word_level().to_single_token("<unk>") == 3
        word_level().to_tokens("  Mary \n and\tJohn ")
        for made in (tokenizers_zoo.gemma_like(), tokenizers_zoo.byte_level(["<bos>"])):
            tokenizer(made).to_tokens("Zebra, naïve 🙂 \x00 \t\n漢字")


def test_without_an_unknown_token_an_unknown_word_is_an_error() -> None:
    backend = tokenizers_zoo.word_level()
    backend.model.unk_token = "<nothing>"
    for call in (tokenizer(backend, None).to_tokens, tokenizer(backend, None).encode):
        with pytest.raises(hookwire.UnknownWordError, match="'Zebra'"):
            call("Mary Zebra")


def test_ids_that_the_vocabulary_lacks_are_no_text() -> None:
    ours = word_level()
    beyond = len(ours)
    for call in (ours.to_string, ours.to_str_tokens, ours.decode, ours.convert_ids_to_tokens):
        with pytest.raises(hookwire.TokenOutOfRangeError, match=str(beyond)):
            call([5, beyond])
    with pytest.raises(hookwire.TokenOutOfRangeError):
        ours.to_single_str_token(beyond)
    with pytest.raises(hookwire.TokenOutOfRangeError):
        ours.batch_decode([[5], [beyond]])


def test_a_lone_surrogate_is_a_sentence() -> None:
    ours = word_level()
    for call in (
        ours,
        ours.to_tokens,
        ours.to_str_tokens,
        ours.to_single_token,
        ours.encode,
        ours.tokenize,
        ours.convert_tokens_to_ids,
        lambda text: ours.to_tokens(["Mary", text]),
        lambda text: ours.get_token_position(text, "Mary"),
    ):
        with pytest.raises(hookwire.ArgumentError, match="character 2 is the lone surrogate"):
            call("M \ud800")


def test_a_lone_surrogate_in_a_name_is_a_sentence(model: hookwire.RemoteModel) -> None:
    name = "x\ud800"
    for call in (
        lambda: model("Mary and\ud800"),
        lambda: model.run_with_cache("Mary", names_filter=name),
        lambda: model.run_with_cache("Mary", names_filter=["*" + name]),
        lambda: model.run_with_hooks("Mary", fwd_hooks=[(name, hookwire.ops.zero())]),
        lambda: model.plan("Mary", name),
        lambda: model.weights[name],
        lambda: hookwire.connect(f"{name}:70"),
        lambda: hookwire.connect(f"unix:/{name}"),
    ):
        with pytest.raises(hookwire.ArgumentError, match="lone surrogate"):
            call()
