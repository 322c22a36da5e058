"""Every error that this package raises is a HookwireError, whichever builtin it is besides."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from pathlib import Path

import hookwire
import pytest
from hookwire.text.tokenizer import Tokenizer

from tests.client.conftest import tokenizer_files

PACKAGE = Path(hookwire.__file__).parent
# Ours to catch, and no user's to see: a part of an option's value, and a socket of another user's.
INSIDE = {("cli/places.py", "ValueError"), ("wire/shared_memory.py", "PermissionError")}


def raised() -> Iterator[tuple[str, str, int]]:
    """Of each `raise` of a builtin exception: file, exception, line."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Raise) or node.exc is None:
                continue
            # `raise NotImplementedError`, which is no call, is what subclasses are to define.
            called = node.exc.func if isinstance(node.exc, ast.Call) else None
            name = called.id if isinstance(called, ast.Name) else ""
            kind = getattr(builtins, name, None)
            if isinstance(kind, type) and issubclass(kind, Exception):
                yield str(path.relative_to(PACKAGE)), name, node.lineno


def test_no_builtin_is_raised() -> None:
    assert [each for each in raised() if each[:2] not in INSIDE] == []


@pytest.mark.parametrize(
    ("name", "near"), [("conect", "connect"), ("RemotModel", "RemoteModel"), ("zzz", "")]
)
def test_a_misspelt_name_of_the_package(name: str, near: str) -> None:
    hint = rf"; did you mean hookwire\.{near}\?" if near else ""
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'{hint}$") as caught:
        getattr(hookwire, name)
    assert isinstance(caught.value, hookwire.HookwireError)


def test_attributes_of_the_parts(model: hookwire.RemoteModel) -> None:
    tokenizer = Tokenizer(tokenizer_files())
    answer = tokenizer("a small step")
    for thing, name, said in (
        (tokenizer, "apply_chat_templat", "did you mean 'apply_chat_template'"),
        (tokenizer, "zzz", "a tokenizer of Hookwire has no attribute 'zzz'"),
        (answer, "input_idz", "the tokenizer's answer has no 'input_idz': it has input_ids"),
        (model, "_zzz", "a remote model has no attribute '_zzz'"),
        (model.cfg, "_zzz", "cfg has no attribute '_zzz'"),
    ):
        assert not hasattr(thing, name)
        with pytest.raises(hookwire.NoAttributeError, match=said):
            getattr(thing, name)


def test_torch_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, model: hookwire.RemoteModel
) -> None:
    monkeypatch.delitem(__import__("sys").modules, "torch", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(hookwire.MissingExtraError, match=r"pip install torch.*numpy") as caught:
        hookwire.connect(model.server.address, tensors="torch", quiet=True)
    assert isinstance(caught.value, ImportError)


@pytest.mark.parametrize("tokens", [32, [1, 99], [[5, -1]]])
def test_tokens_outside_the_vocabulary(model: hookwire.RemoteModel, tokens: object) -> None:
    with pytest.raises(hookwire.TokenOutOfRangeError, match=r"tokens has (token )?(32|99|-1)"):
        model.tokens_to_residual_directions(tokens)
