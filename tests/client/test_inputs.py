"""Every form of input becomes the right sequences, in the right places."""

from __future__ import annotations

import warnings
from typing import Any

import hookwire
import numpy as np
import pytest
import torch
from hookwire.ask import inputs
from hookwire.text.tokenizer import Tokenizer

from tests.client.conftest import tokenizer_files


def batch(value: Any, **options: Any) -> inputs.Batch:
    return inputs.batch(value, encoder=lambda: Tokenizer(tokenizer_files()), **options)


@pytest.mark.parametrize(
    "value",
    [
        [3, 1, 4],
        (3, 1, 4),
        [[3, 1, 4]],
        np.array([3, 1, 4]),
        np.array([[3, 1, 4]], dtype=np.uint8),
        torch.tensor([3, 1, 4]),
        torch.tensor([[3, 1, 4]], dtype=torch.int32),
        [torch.tensor([3, 1, 4])],
        [np.int64(3), np.int64(1), np.int64(4)],
        [torch.tensor(3), torch.tensor(1), torch.tensor(4)],
        {"input_ids": torch.tensor([[3, 1, 4]]), "attention_mask": torch.tensor([[1, 1, 1]])},
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_row_of_token_ids(value: Any) -> None:
    made = batch(value)
    assert made.rows == [[3, 1, 4]]
    assert (made.starts, made.width, made.padded) == ([0], 3, False)


def test_text() -> None:
    assert batch("a small step").rows == [
        Tokenizer(tokenizer_files()).to_tokens("a small step")[0].tolist()
    ]


@pytest.mark.parametrize("side", ["left", "right", None])
def test_texts_stand_where_to_tokens_puts_them(side: str | None) -> None:
    tokenizer = Tokenizer(tokenizer_files())
    texts = ["a small step", "a", "When Mary and John went"]
    made = batch(texts, padding_side=side)
    tokens = tokenizer.to_tokens(texts, padding_side=side)
    assert made.width == tokens.shape[1]
    assert made.padded
    mask = made.mask()
    for row, real, ids in zip(tokens, mask, made.rows, strict=True):
        assert row[real].tolist() == ids
        assert (row[~real] == tokenizer.pad_token_id).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_texts_without_bos(side: str) -> None:
    tokenizer = Tokenizer(tokenizer_files())
    texts = ["a small step", "a"]
    made = batch(texts, padding_side=side, prepend_bos=False)
    assert made.rows == [tokenizer.to_tokens(text, prepend_bos=False)[0].tolist() for text in texts]


def test_ragged_lists() -> None:
    made = batch([[5, 6, 7], [8]], padding_side="left")
    assert made.rows == [[5, 6, 7], [8]]
    assert made.starts == [0, 2]
    assert batch([[5, 6, 7], [8]]).starts == [0, 0]  # the tokenizer pads on the right
    assert batch([torch.tensor([5, 6]), torch.tensor([8])]).rows == [[5, 6], [8]]


@pytest.mark.parametrize("kind", [np.array, torch.tensor, list])
def test_masks(kind: Any) -> None:
    ids = np.array([[0, 0, 5, 6], [7, 8, 0, 0], [1, 2, 3, 4]])
    mask = [[0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]]
    made = batch(ids, attention_mask=kind(mask))
    assert made.rows == [[5, 6], [7, 8], [1, 2, 3, 4]]
    assert made.starts == [2, 0, 0]
    assert made.mask().tolist() == [[bool(x) for x in row] for row in mask]


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        ([[1, 0, 1]], hookwire.MaskError, "gap"),
        ([[0, 0, 0]], hookwire.EmptySequenceError, "all zero"),
        ([[1, 1]], hookwire.MaskError, "shape"),
        ([[1, 2, 1]], hookwire.MaskError, "0 and 1"),
        ([[1.0, 0.5, 0.0]], hookwire.MaskError, "0 and 1"),
    ],
)
def test_bad_masks(mask: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        batch([[5, 6, 7]], attention_mask=mask)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ([], hookwire.NoSequencesError),
        (np.zeros((0, 3), int), hookwire.NoSequencesError),
        ([[]], hookwire.EmptySequenceError),
        ([[1], []], hookwire.EmptySequenceError),
        (np.zeros((2, 0), int), hookwire.EmptySequenceError),
        ([-1], hookwire.TokenOutOfRangeError),
        ([2**32], hookwire.TokenOutOfRangeError),
        ([2**70], hookwire.TokenOutOfRangeError),
        ([2**63, 1], hookwire.TokenOutOfRangeError),  # to NumPy, floats
        ([[1], [2**63, 1]], hookwire.TokenOutOfRangeError),
        ([1.5], TypeError),
        ({}, TypeError),
        (torch.zeros(1, 3, 4), hookwire.UnsupportedError),
        (np.zeros((1, 2, 3), int), TypeError),
        ([True, False], TypeError),
        (3, TypeError),
        (None, TypeError),
        (["a", 3], TypeError),
        ([1, "a"], TypeError),
        ([[1, 2], "ab"], TypeError),
        ([[[1]], [2, 3]], TypeError),
    ],
)
def test_what_is_no_input(value: Any, error: Any) -> None:
    with pytest.raises(error):
        batch(value)


def test_a_text_of_no_tokens() -> None:
    with pytest.raises(hookwire.EmptySequenceError, match="row 1"):
        batch(["a", ""], prepend_bos=False)


@pytest.mark.parametrize("ids", [[[0, 0, 5]], [[5, 6, 0]]])
def test_ids_that_look_padded_draw_a_warning(ids: Any) -> None:
    with pytest.warns(hookwire.PaddingWarning, match="attention_mask"):
        made = batch(ids, pad_token_id=0)
    assert made.rows == ids  # they are real all the same
    assert made.looks_padded


def test_no_warning_without_cause() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch([[5, 0, 6]], pad_token_id=0)
        batch([[0, 5]], pad_token_id=0, attention_mask=[[0, 1]])


def test_the_padding_warning_comes_once_a_model(model: hookwire.RemoteModel) -> None:
    with pytest.warns(hookwire.PaddingWarning) as caught:
        model([[0, 5]], return_type=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model([[0, 6]], return_type=None)
    assert caught[0].filename == __file__


def test_wrong_padding_side() -> None:
    with pytest.raises(ValueError, match="padding_side"):
        batch("a", padding_side="top")
