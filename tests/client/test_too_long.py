"""A text with more tokens than the context is cut, as in TransformerLens, and a warning says so."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import hookwire
import pytest
from hookwire import aio, ops
from hookwire.text.tokenizer import Tokenizer

from tests.client import tokenizers_zoo
from tests.client.fake_model import N_CTX
from tests.client.fake_server import FakeServer

# With the beginning-of-sequence token, 30.
LONG = " ".join(["a"] * 29)
SHORT = "a small step"
Model = hookwire.RemoteModel

CALLS: dict[str, Callable[[Any], Any]] = {
    "to_tokens": lambda m: m.to_tokens(LONG),
    "to_str_tokens": lambda m: m.to_str_tokens(LONG),
    "the model": lambda m: m(LONG),
    "run_with_hooks": lambda m: m.run_with_hooks(LONG, [("hook_embed", ops.zero())]),
    "run_with_cache": lambda m: m.run_with_cache(LONG, names_filter=[]),
    "plan": lambda m: m.plan(LONG, []),
    "log_probs": lambda m: m.log_probs(LONG, "a"),
}
BLOCKING: dict[str, Callable[[Model], Any]] = {
    **CALLS,
    "get_token_position": lambda m: m.get_token_position("a", LONG),
    "stream": lambda m: list(m.stream(LONG, "hook_embed")),
    "the tokenizer": lambda m: m.tokenizer.to_tokens(LONG),
}


def only(caught: Any) -> str:
    assert [each.category for each in caught] == [hookwire.TruncatedWarning]
    assert caught[0].filename == __file__
    return str(caught[0].message)


@pytest.mark.parametrize("call", BLOCKING)
def test_each_way_to_give_a_text_warns_once(model: Model, call: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        BLOCKING[call](model)
    said = only(caught)
    assert said.startswith(
        f"the text has 30 tokens, and the model's context is n_ctx={N_CTX}: the end is cut off"
    )
    assert "truncate=True" in said
    assert "truncate=False" in said


@pytest.mark.parametrize("call", CALLS)
async def test_so_does_the_asynchronous_twin(server: FakeServer, call: str) -> None:
    async with await aio.connect(server.address, quiet=True) as twin:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            await CALLS[call](twin)
    assert [each.category for each in caught] == [hookwire.TruncatedWarning]


def test_whoever_says_what_is_wanted_is_not_warned(model: Model) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.to_tokens(LONG, truncate=True).shape == (1, N_CTX)
        assert model.to_tokens(LONG, truncate=False).shape == (1, 30)
        assert model(model.to_tokens(LONG, truncate=True)).shape[:2] == (1, N_CTX)
        with pytest.raises(hookwire.SequenceTooLongError):
            model(model.to_tokens(LONG, truncate=False))
        assert model.to_tokens(" ".join(["a"] * (N_CTX - 1))).shape == (1, N_CTX)


def test_of_several_texts_those_that_are_cut_are_named(model: Model) -> None:
    texts = [SHORT, LONG, *[LONG + " a"] * 3]
    for call in (model.to_tokens, model.to_str_tokens, model):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call(texts)
        assert only(caught).startswith(
            "text 1 has 30 tokens, text 2 has 31 tokens, text 3 has 31 tokens and 1 more are too "
            f"long, and the model's context is n_ctx={N_CTX}: "
        )


def test_the_count_is_that_of_the_tokens_asked_for(model: Model) -> None:
    with pytest.warns(hookwire.TruncatedWarning, match="the text has 29 tokens"):
        model.to_tokens(LONG, prepend_bos=False)


def test_a_tokenizer_that_cuts_the_beginning_says_so() -> None:
    files = {"tokenizer.json": tokenizers_zoo.word_level().to_str().encode()}
    tokenizer = Tokenizer(files, n_ctx=4)
    tokenizer.truncation_side = "left"
    with pytest.warns(hookwire.TruncatedWarning, match="n_ctx=4: the beginning is cut off"):
        ids = tokenizer.to_tokens("Mary and John went to the store")
    assert tokenizer.to_string(ids[0][-1:]) == "store"


def test_a_string_of_many_tokens_is_not_cut_to_be_one(model: Model) -> None:
    with pytest.raises(hookwire.NotASingleTokenError, match="not a single token but 29"):
        model.to_single_token(LONG)
