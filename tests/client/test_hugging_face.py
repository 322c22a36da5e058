"""The tokenizer answers as Transformers' does on the same files."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import pickle
from pathlib import Path
from typing import Any

import hookwire
import numpy as np
import pytest
import torch
from hookwire.text import absent
from hookwire.text.tokenizer import Tokenizer
from transformers import PreTrainedTokenizerFast

from tests.client import tokenizers_zoo
from tests.client.test_tokens import Reference

pytestmark = pytest.mark.filterwarnings("ignore")
TEXTS = [
    "Mary",
    "",
    "When Mary and John went to the store ,",
    "a small step . Mary 's <bos> !",
    "naïve ▁ 🙂 text",
    " a  large\n",
]
TEMPLATE = """{{ bos_token }}{% for message in messages %}{% if message.role == 'system' %}\
{{ raise_exception('no system') }}{% endif %}<start_of_turn>{{ message['role'] }}
{{ message['content'] | trim }}<end_of_turn>
{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}\
{% if add_generation_prompt %}<start_of_turn>model
{% endif %}"""


@pytest.fixture(scope="module", params=list(tokenizers_zoo.ZOO))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("tokenizer")
    files = tokenizers_zoo.write(request.param, folder)
    return Tokenizer(files), Reference(folder).tokenizer


def lists(answer: Any) -> dict[str, Any]:
    """A call's answer as plain lists."""
    return {
        name: [list(row) if isinstance(row, tuple) else row for row in plain(value)]
        for name, value in answer.items()
    }


def plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def test_encode_is_no_list_of_characters() -> None:
    files = {"tokenizer.json": tokenizers_zoo.word_level().to_str().encode()}
    config = {**tokenizers_zoo.FAST, **tokenizers_zoo.NAMED}
    ours = Tokenizer({**files, "tokenizer_config.json": json.dumps(config).encode()})
    assert ours.encode("Mary and John") == [2, 5, 6, 7]


def test_facts(pair: Any) -> None:
    ours, theirs = pair
    for name in (
        *(f"{kind}_token{end}" for kind in ("bos", "eos", "unk", "pad") for end in ("", "_id")),
        *("sep_token", "cls_token_id", "mask_token", "mask_token_id"),
        *("special_tokens_map", "all_special_tokens", "all_special_ids", "extra_special_tokens"),
        *("vocab_size", "vocab", "padding_side", "truncation_side", "model_max_length"),
        *("model_input_names", "clean_up_tokenization_spaces", "is_fast", "chat_template"),
        *("pad_token_type_id", "added_tokens_encoder", "extra_special_tokens_ids"),
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert len(ours) == len(theirs)
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.get_added_vocab() == theirs.get_added_vocab()
    assert ours.num_special_tokens_to_add() == theirs.num_special_tokens_to_add()


def test_text_to_ids(pair: Any) -> None:
    ours, theirs = pair
    for text, special in itertools.product(TEXTS, [True, False]):
        assert ours.encode(text, add_special_tokens=special) == theirs.encode(
            text, add_special_tokens=special
        )
        assert ours.tokenize(text, add_special_tokens=special) == theirs.tokenize(
            text, add_special_tokens=special
        )
        assert dict(ours(text, add_special_tokens=special)) == dict(
            theirs(text, add_special_tokens=special)
        )
    extras = {"return_special_tokens_mask": True, "return_length": True}
    extras |= {"return_offsets_mapping": True, "return_token_type_ids": True}
    assert dict(ours(TEXTS, **extras)) == dict(theirs(TEXTS, **extras))
    assert "attention_mask" not in ours("Mary", return_attention_mask=False)
    answer = ours(TEXTS)
    assert answer.input_ids == theirs(TEXTS).input_ids
    assert answer.tokens(2) == theirs(TEXTS).tokens(2)


@pytest.mark.parametrize("padding", [False, True, "longest", "max_length", "do_not_pad"])
def test_lengths(pair: Any, padding: Any) -> None:
    ours, theirs = pair
    for truncation, max_length, side in itertools.product(
        [None, False, True, "only_first"], [None, 4, 40], [None, "left", "right"]
    ):
        options = {"padding": padding, "truncation": truncation, "max_length": max_length}
        options["padding_side"] = side
        assert dict(ours(TEXTS, **options)) == dict(theirs(TEXTS, **options)), options
        assert ours.encode(TEXTS[2], **options) == theirs.encode(TEXTS[2], **options), options


@pytest.mark.parametrize(("kind", "cls"), [("pt", torch.Tensor), ("np", np.ndarray)])
def test_tensors(pair: Any, kind: str, cls: type) -> None:
    ours, theirs = pair
    for given in ("Mary", TEXTS):
        got = ours(given, padding=True, return_tensors=kind)
        want = theirs(given, padding=True, return_tensors=kind)
        assert lists(got) == lists(want)
        for name, value in got.items():
            assert isinstance(value, cls)
            assert value.dtype == want[name].dtype
            assert value.shape == want[name].shape
    assert ours.encode("Mary", return_tensors=kind).tolist() == [theirs.encode("Mary")]
    with pytest.raises(hookwire.ArgumentError, match="padding=True"):
        ours(["a", "a small step"], return_tensors=kind)


def test_ids_to_text(pair: Any) -> None:
    ours, theirs = pair
    for text in TEXTS:
        ids = theirs.encode(text)
        for skip, clean in itertools.product([False, True], [None, False, True]):
            options = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": clean}
            assert ours.decode(ids, **options) == theirs._decode(ids, **options)
        assert ours.decode(torch.tensor(ids)) == theirs.decode(ids)
        assert ours.convert_ids_to_tokens(ids) == theirs.convert_ids_to_tokens(ids)
        assert ours.convert_ids_to_tokens(ids, True) == theirs.convert_ids_to_tokens(ids, True)
        words = theirs.convert_ids_to_tokens(ids)
        assert ours.convert_tokens_to_ids(words) == theirs.convert_tokens_to_ids(words)
        assert ours.convert_tokens_to_string(words) == theirs.convert_tokens_to_string(words)
    rows = [theirs.encode(text) for text in TEXTS]
    assert ours.batch_decode(rows) == theirs.batch_decode(rows) == ours.decode(rows)
    assert ours.convert_ids_to_tokens(5) == theirs.convert_ids_to_tokens(5)
    assert ours.convert_tokens_to_ids("a") == theirs.convert_tokens_to_ids("a")


def test_what_is_not_here_says_why() -> None:
    files = {"tokenizer.json": tokenizers_zoo.word_level().to_str().encode()}
    ours = Tokenizer(files)
    for name in dir(PreTrainedTokenizerFast):
        if not name.startswith("_") and not hasattr(ours, name):
            assert name in absent.REASONS or name == "SPECIAL_TOKENS_ATTRIBUTES", name
    for name in absent.REASONS:
        with pytest.raises(hookwire.NotInTokenizerError, match=f"tokenizer.{name} is not here: "):
            getattr(ours, name)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = ours.nonsense
    for options in ({"text_pair": "b"}, {"stride": 2}, {"is_split_into_words": True}):
        with pytest.raises(hookwire.UnsupportedError):
            ours("a", **options)
    for options in ({"padding": "all"}, {"return_tensors": "tf"}, {"truncation": "x"}):
        with pytest.raises(hookwire.ArgumentError):
            ours("a", **options)
    with pytest.raises(hookwire.ArgumentTypeError, match="nonsense"):
        ours("a", nonsense=1)
    for given in (None, 3, [3], {"a": 1}.values()):
        with pytest.raises(hookwire.ArgumentTypeError):
            ours(given)


def test_the_padding_token_may_be_chosen(pair: Any) -> None:
    ours, theirs = map(copy.deepcopy, pair)
    for one in (ours, theirs):
        one.pad_token = one.eos_token
        one.padding_side = "left"
    assert ours.pad_token_id == theirs.pad_token_id
    assert dict(ours(TEXTS, padding=True)) == dict(theirs(TEXTS, padding=True))
    with pytest.raises(hookwire.ArgumentError):
        ours.pad_token = "no such word"
    assert dict(pickle.loads(pickle.dumps(ours))(TEXTS)) == dict(theirs(TEXTS))


def test_what_would_change_nothing_cannot_be_set(tmp_path: Path) -> None:
    tokenizers_zoo.write("Gemma", tmp_path)
    names = ("tokenizer.json", "tokenizer_config.json")
    ours = Tokenizer({name: (tmp_path / name).read_bytes() for name in names})
    ids, other = ours.encode("a"), ours.convert_ids_to_tokens(7)
    for name, value, instead in (
        ("add_bos_token", False, r"add_special_tokens=False .* prepend_bos=False .*default_prep"),
        ("add_eos_token", True, "append tokenizer.eos_token"),
        ("bos_token", other, "add_special_tokens=False"),
        ("bos_token_id", 7, "add_special_tokens=False"),
        ("unk_token", other, "the vocabulary's own unknown token"),
        ("unk_token_id", 7, "the vocabulary's own unknown token"),
        ("is_fast", False, "of what kind"),
        ("pad_token_type_id", 1, "0 everywhere"),
        ("prepends_bos", False, "set default_prepend_bos"),
        ("vocab_size", 3, "the vocabulary is the checkpoint's"),
        ("split_special_tokens", True, "special tokens in a text are read as such"),
    ):
        shown = name.removesuffix("_id") if name.endswith("token_id") else name
        with pytest.raises(
            hookwire.NotInTokenizerError, match=f"{shown} cannot be set: .*{instead}"
        ):
            setattr(ours, name, value)
        with contextlib.suppress(AttributeError):
            setattr(ours, name, getattr(ours, name))  # which is no change
        assert ours.encode("a") == ids
    ours.pad_token = ours.eos_token = other
    assert (ours.pad_token_id, ours.eos_token_id) == (7, 7)
    ours.of_a_user = 3  # type: ignore[attr-defined]
    assert copy.deepcopy(ours).of_a_user == 3  # type: ignore[attr-defined]


def test_a_setting_takes_what_it_can_be() -> None:
    ours = Tokenizer({"tokenizer.json": tokenizers_zoo.word_level().to_str().encode()})
    for name, wrong, said in (
        ("padding_side", "up", 'padding_side must be "left" or "right", not \'up\''),
        ("truncation_side", "up", 'truncation_side must be "left" or "right", not \'up\''),
        ("truncation_side", 3, 'truncation_side must be "left" or "right", not 3'),
        ("default_prepend_bos", "no", "default_prepend_bos must be True or False, not 'no'"),
        ("clean_up_tokenization_spaces", 1, "must be True or False, not 1"),
        ("model_max_length", "a", "model_max_length must be a number of tokens, not 'a'"),
        ("model_max_length", 8.0, "model_max_length must be a number of tokens, not 8.0"),
        ("model_max_length", -1, "model_max_length must not be negative"),
        ("n_ctx", "a", "n_ctx must be a number of tokens, not 'a'"),
        ("chat_template", 3, "chat_template must be a Jinja template"),
    ):
        before = getattr(ours, name)
        with pytest.raises(hookwire.HookwireError, match=f"^.*{said}"):
            setattr(ours, name, wrong)
        assert getattr(ours, name) == before
        setattr(ours, name, before)
    ours.model_max_length = 1e30  # type: ignore[assignment]
    assert ours("a", truncation=True)
    ours.n_ctx = None
    with pytest.raises(hookwire.ArgumentTypeError, match="input must be a text or a list of texts"):
        ours.to_tokens(np.array("Mary"))  # type: ignore[arg-type]


CHATS: list[Any] = [
    [{"role": "user", "content": " When Mary and John "}],
    [{"role": "user", "content": "a"}, {"role": "model", "content": "small step "}],
    [[{"role": "user", "content": "a"}], [{"role": "user", "content": "John went"}]],
]


def with_template(folder: Path, where: str) -> tuple[Tokenizer, Any]:
    tokenizers_zoo.write("Gemma", folder)
    config = folder / "tokenizer_config.json"
    if where == "chat_template.jinja":
        (folder / where).write_text(TEMPLATE)
    elif where == "several":
        (folder / "chat_template.jinja").write_text(TEMPLATE)
        (folder / "additional_chat_templates").mkdir()
        (folder / "additional_chat_templates" / "tool_use.jinja").write_text("T" + TEMPLATE)
    else:
        written: Any = TEMPLATE
        if where == "list":
            written = [
                {"name": "default", "template": TEMPLATE},
                {"name": "tool_use", "template": "T" + TEMPLATE},
            ]
        config.write_text(json.dumps({**json.loads(config.read_text()), "chat_template": written}))
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "config.json"]
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    return Tokenizer(files), Reference(folder).tokenizer


@pytest.mark.parametrize(
    "where", ["chat_template.jinja", "tokenizer_config.json", "several", "list"]
)
def test_chats(tmp_path: Path, where: str) -> None:
    ours, theirs = with_template(tmp_path, where)
    assert ours.chat_template == theirs.chat_template
    for chat, prompt, tools in itertools.product(CHATS, [False, True], [None, [{"name": "<f>"}]]):
        options = {"add_generation_prompt": prompt, "tools": tools}
        text = theirs.apply_chat_template(chat, tokenize=False, **options)
        assert ours.apply_chat_template(chat, tokenize=False, **options) == text
        answer = ours.apply_chat_template(chat, **options)
        assert dict(answer) == dict(theirs.apply_chat_template(chat, **options))
        padded = {"padding": True, "return_tensors": "pt", "return_dict": False}
        want = theirs.apply_chat_template(chat, **options, **padded)
        assert torch.equal(ours.apply_chat_template(chat, **options, **padded), want)
    going_on = {"continue_final_message": True, "tokenize": False}
    assert ours.apply_chat_template(CHATS[1], **going_on) == theirs.apply_chat_template(
        CHATS[1], **going_on
    )


def test_a_chat_that_cannot_be_is_a_sentence(tmp_path: Path) -> None:
    ours, _ = with_template(tmp_path, "chat_template.jinja")
    apply = ours.apply_chat_template
    for chat, options, says in (
        ([{"role": "system", "content": "x"}], {}, "no system"),
        (CHATS[0], {"chat_template": "{% if %}"}, "cannot be read"),
        (CHATS[0], {"chat_template": "{{ messages.x.y }}"}, "cannot render"),
        (CHATS[0], {"chat_template": "{{ ''.__class__.__mro__ }}"}, "unsafe"),
        ([], {}, "empty"),
        ("Mary", {}, "list of messages"),
        (["Mary"], {}, "must be a dict"),
        (CHATS[0], {"continue_final_message": True, "add_generation_prompt": True}, "exclude"),
        (CHATS[0], {"tools": [len]}, "JSON schemas"),
    ):
        with pytest.raises(hookwire.HookwireError, match=says):
            apply(chat, **options)
    del ours.__dict__["chat_template"]
    ours.chat_template = None
    with pytest.raises(hookwire.ChatTemplateError, match="no chat template"):
        apply(CHATS[0])
