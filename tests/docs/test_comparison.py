"""What TransformerLens's model has is here, or in the table that says why not."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import hookwire
import pytest
import torch
from hookwire import errors
from transformer_lens.model_bridge import TransformerBridge

from docs.generate_comparison import groups
from tests.docs.conftest import TOY
from tests.parity.daemon import ROOT


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def is_there(model: hookwire.RemoteModel, name: str) -> bool:
    try:
        getattr(model, name)
    except (errors.NoModulesError, errors.UnsupportedError):
        return False
    return True


@pytest.fixture(scope="module")
def theirs() -> set[str]:
    """Of the class, and of a model: its attributes are made when it is booted."""
    bridge = TransformerBridge.boot_transformers(str(TOY), device="cpu", dtype=torch.float32)
    return public(TransformerBridge) | public(bridge)


@pytest.fixture(scope="module")
def ours(toy: str) -> set[str]:
    with hookwire.connect(toy, quiet=True) as model:
        return {name for name in public(model) if is_there(model, name)}


LISTED = [name for group in groups() for name in group.names]


def test_each_name_is_listed_once() -> None:
    assert [name for name, count in Counter(LISTED).items() if count > 1] == []


def test_what_is_neither_here_nor_listed_is_nothing(theirs: set[str], ours: set[str]) -> None:
    assert sorted(theirs - ours - set(LISTED)) == []


def test_what_is_listed_is_not_here(ours: set[str]) -> None:
    assert sorted(set(LISTED) & ours) == []


def test_what_is_listed_is_there(theirs: set[str]) -> None:
    assert sorted(set(LISTED) - theirs) == []


def test_the_table_is_fresh() -> None:
    script = ROOT / "docs" / "generate_comparison.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
