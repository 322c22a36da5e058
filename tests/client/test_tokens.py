"""The tokenizer surface equals TransformerLens's, id for id."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import hookwire
import numpy as np
import pytest
from hookwire.text.tokenizer import Tokenizer
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources._bridge_builder import configure_tokenizer
from transformers import AutoTokenizer

from tests.client import tokenizers_zoo

N_CTX = 9
TEXTS = [
    "When Mary and John went",
    "a",
    "",
    " the store , John gave",
    "a small step for a model , a large one for its reader",
    "unheard of <bos> and <eos> <pad> inside",
    "naïve ▁ 🙂 text",
]


class Reference:
    """TransformerLens's methods on the tokenizer that it loads from a checkpoint."""

    def __init__(self, folder: Any) -> None:
        try:
            base = AutoTokenizer.from_pretrained(folder, add_bos_token=True)
        except ValueError:
            base = AutoTokenizer.from_pretrained(folder)
        self.cfg = SimpleNamespace(n_ctx=N_CTX, device="cpu", default_prepend_bos=True)
        self.tokenizer = configure_tokenizer(base, self.cfg)

    to_tokens = TransformerBridge.to_tokens
    to_string = TransformerBridge.to_string
    to_str_tokens = TransformerBridge.to_str_tokens
    to_single_token = TransformerBridge.to_single_token


pytestmark = [
    pytest.mark.filterwarnings("ignore::hookwire.UnknownWordsWarning"),
    pytest.mark.filterwarnings("ignore::hookwire.TruncatedWarning"),
]


@pytest.fixture(scope="module", params=list(tokenizers_zoo.ZOO))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("tokenizer")
    files = tokenizers_zoo.write(request.param, folder)
    return Tokenizer(files, n_ctx=N_CTX), Reference(folder)


@pytest.mark.parametrize("prepend_bos", [None, True, False])
@pytest.mark.parametrize("truncate", [True, False])
def test_to_tokens_of_one_text(pair: Any, prepend_bos: bool | None, truncate: bool) -> None:
    ours, theirs = pair
    for text in TEXTS:
        got = ours.to_tokens(text, prepend_bos=prepend_bos, truncate=truncate)
        want = theirs.to_tokens(text, prepend_bos=prepend_bos, truncate=truncate)
        assert got.dtype == np.int64
        assert got.tolist() == [[int(x) for x in row] for row in want.tolist()], text


@pytest.mark.parametrize("prepend_bos", [None, False])
@pytest.mark.parametrize("padding_side", [None, "left", "right"])
def test_to_tokens_of_several_texts(
    pair: Any, prepend_bos: bool | None, padding_side: str | None
) -> None:
    ours, theirs = pair
    texts = [text for text in TEXTS if text]
    try:
        want = theirs.to_tokens(texts, prepend_bos=prepend_bos, padding_side=padding_side)
    except ValueError as error:
        # TransformerLens cannot tell a beginning-of-sequence token from padding of the same id.
        assert "Cannot remove BOS" in str(error)  # noqa: PT017 - only one of the zoo raises
        return
    got = ours.to_tokens(texts, prepend_bos=prepend_bos, padding_side=padding_side)
    assert got.tolist() == want.tolist()


def test_special_tokens(pair: Any) -> None:
    ours, theirs = pair
    assert ours.padding_side == theirs.tokenizer.padding_side
    assert ours.prepends_bos == theirs.cfg.tokenizer_prepends_bos
    for kind in ("bos", "eos", "pad", "unk"):
        assert ours.token(kind) == getattr(theirs.tokenizer, f"{kind}_token")
        assert ours.token_id(kind) == getattr(theirs.tokenizer, f"{kind}_token_id")
    assert ours.backend.get_vocab() == theirs.tokenizer.get_vocab()


def test_to_string(pair: Any) -> None:
    ours, theirs = pair
    for text in TEXTS:
        row = ours.to_tokens(text)
        if not row.size:
            continue
        assert ours.to_string(row) == theirs.to_string(row)
        assert ours.to_string(row[0]) == theirs.to_string(row[0])
        assert ours.to_string(row[0].tolist()) == theirs.to_string(row[0].tolist())


def test_to_str_tokens(pair: Any) -> None:
    ours, theirs = pair
    for text in TEXTS:
        for prepend_bos in (None, True, False):
            if not ours.to_tokens(text, prepend_bos).size:
                assert ours.to_str_tokens(text, prepend_bos) == []  # there: [""]
                continue
            assert ours.to_str_tokens(text, prepend_bos) == theirs.to_str_tokens(text, prepend_bos)
    assert ours.to_str_tokens(TEXTS[:2]) == theirs.to_str_tokens(TEXTS[:2])
    ids = ours.to_tokens("a small step")
    assert ours.to_str_tokens(ids) == theirs.to_str_tokens(ids)
    assert ours.to_str_tokens(ids[0].tolist()) == theirs.to_str_tokens(ids)


def test_to_single_token(pair: Any) -> None:
    ours, theirs = pair
    for text in ["a", " a", "Mary", "John Mary", "unheard", "<bos>", "<unk>", ""]:
        try:
            want = theirs.to_single_token(text)
        except AssertionError:
            want = None
        # TransformerLens gives the unknown token's id for a word that the vocabulary lacks.
        word = want and theirs.tokenizer.convert_ids_to_tokens([want])[0]
        if want is None or (word == "<unk>" and text != "<unk>"):
            with pytest.raises(hookwire.NotASingleTokenError):
                ours.to_single_token(text)
        else:
            assert ours.to_single_token(text) == want


def test_mask_marks_padding() -> None:
    tokenizer = Tokenizer({"tokenizer.json": tokenizers_zoo.word_level().to_str().encode()})
    ids, mask = tokenizer.encode_rows(["a small step", "a"], False, "left")
    assert mask.tolist() == [[True] * ids.shape[1], [False] * (ids.shape[1] - 1) + [True]]


def test_positions_of_a_token() -> None:
    tokenizer = Tokenizer({"tokenizer.json": tokenizers_zoo.word_level().to_str().encode()})
    assert tokenizer.get_token_position("a", "for a model , a large", prepend_bos=False) == 1
    assert tokenizer.get_token_position("a", "for a model , a large", "last", False) == 4
    with pytest.raises(ValueError, match="does not occur"):
        tokenizer.get_token_position("Mary", "for a model")


def test_torch_tensors_where_asked_for() -> None:
    torch = pytest.importorskip("torch")
    files = {"tokenizer.json": tokenizers_zoo.word_level().to_str().encode()}
    tokens = Tokenizer(files, use_torch=True).to_tokens("a small step", False)
    assert tokens.dtype == torch.int64
    assert tokens.shape == (1, 3)


@pytest.mark.parametrize("files", [{}, {"tokenizer.json": b"{"}, {"tokenizer.json": b"[]"}])
def test_unreadable_files_are_a_typed_error(files: dict[str, bytes]) -> None:
    with pytest.raises(hookwire.NoTokenizerError):
        Tokenizer(files)
