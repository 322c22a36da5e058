"""The toy checkpoint: what its README says of it, and the whole of it over RPC."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import hookwire
import pytest
import torch

from tests.parity.conftest import THREADS
from tests.parity.daemon import ROOT, hookwired
from tests.parity.reference import Reference
from tests.parity.test_reads import assert_all_same_bits, assert_same_bits

TOY = ROOT / "toy"
CHECKPOINT = TOY / "checkpoint"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TOY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look their module up
    spec.loader.exec_module(module)
    return module


sentences = _load("sentences")


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(CHECKPOINT, torch.float32)


@pytest.fixture(scope="module")
def model() -> Iterator[Any]:
    with (
        hookwired(CHECKPOINT, numerics="reference", dtype="auto", threads=THREADS) as address,
        hookwire.connect(address, quiet=True) as connected,
    ):
        yield connected


def test_checkpoint_is_small() -> None:
    assert sum(path.stat().st_size for path in CHECKPOINT.iterdir()) <= 2_000_000


def test_parameters_are_as_many_as_the_readme_says(reference: Reference, model: Any) -> None:
    count = sum(parameter.numel() for parameter in reference.model.parameters())
    assert model.cfg.n_params == count
    assert f" {count:,} parameters" in (TOY / "README.md").read_text()


def test_layer_scalars_are_not_one(reference: Reference) -> None:
    scalars = [layer.layer_scalar.item() for layer in reference.direct.text.layers]
    assert scalars == [0.75, 1.25, 0.875, 1.125, 0.625, 0.9375]


def test_every_held_out_sentence_is_answered(reference: Reference) -> None:
    batch = list(itertools.islice(sentences.stream(99, held_out=True), 200))
    for sentence in batch:
        tokens = reference.bridge.to_tokens(sentence.text)[0].tolist()
        guess = reference.bridge.to_single_str_token(int(reference.logits(tokens)[-1].argmax()))
        assert guess == sentence.indirect_object, sentence


def _difference(logits: Any, answer: int, wrong: int) -> float:
    return float(logits[-1, answer] - logits[-1, wrong])


def test_patching_finds_the_giver_and_then_the_last_word(reference: Reference) -> None:
    """In TransformerLens itself, at the hook point that everybody patches."""
    clean = sentences.example()
    bridge = reference.bridge
    tokens = bridge.to_tokens(clean.text)[0].tolist()
    corrupted = bridge.to_tokens(clean.with_giver_swapped().text)[0].tolist()
    (giver,) = [
        i for i, pair in enumerate(zip(tokens, corrupted, strict=True)) if pair[0] != pair[1]
    ]
    answer, wrong = map(bridge.to_single_token, (clean.indirect_object, clean.subject))
    logits, cache = reference.cache(tokens)
    assert _difference(logits, answer, wrong) > 5
    assert _difference(reference.logits(corrupted), answer, wrong) < -5

    def patched(layer: int, position: int) -> float:
        name = f"blocks.{layer}.hook_in"

        def edit(x: torch.Tensor) -> torch.Tensor:
            x[position] = cache[name][position]
            return x

        return _difference(reference.edited(corrupted, [(name, edit)]), answer, wrong)

    assert patched(0, giver) > 5
    assert patched(1, giver) > 5
    assert patched(5, giver) < -5
    assert patched(5, len(tokens) - 1) > 5
    assert patched(0, len(tokens) - 1) < -5
    assert patched(0, giver - 1) < -5


def test_tokens_are_those_of_transformer_lens(reference: Reference, model: Any) -> None:
    for sentence in itertools.islice(sentences.stream(7, held_out=True), 20):
        for prepend_bos in (None, True, False):
            expected = reference.bridge.to_tokens(sentence.text, prepend_bos=prepend_bos)
            assert torch.equal(model.to_tokens(sentence.text, prepend_bos=prepend_bos), expected)


def test_every_activation_is_that_of_transformer_lens(reference: Reference, model: Any) -> None:
    text = sentences.example().text
    tokens = reference.bridge.to_tokens(text)[0].tolist()
    expected_logits, expected = reference.cache(tokens)
    logits, cache = model.run_with_cache(text)
    assert_same_bits("logits", logits[0], expected_logits)
    compared = [
        name
        for name in expected
        if not name.startswith("rotary_emb") and not name.endswith("hook_attn_scores")
    ]
    assert_all_same_bits([(name, cache[name][0], expected[name]) for name in compared])


def test_patching_in_one_run_equals_patching_in_transformer_lens(
    reference: Reference, model: Any
) -> None:
    clean = sentences.example()
    corrupted = clean.with_giver_swapped()
    tokens = [reference.bridge.to_tokens(s.text)[0].tolist() for s in (clean, corrupted)]
    _, cache = reference.cache(tokens[0])
    for layer in range(6):
        name = f"blocks.{layer}.hook_in"
        for position in (0, 10, 12, 14):

            def edit(x: torch.Tensor, name: str = name, position: int = position) -> torch.Tensor:
                x[position] = cache[name][position]
                return x

            expected = reference.edited(tokens[1], [(name, edit)])
            op = hookwire.ops.copy(from_row=0, row=1, pos=position)
            logits = model.run_with_hooks([clean.text, corrupted.text], fwd_hooks=[(name, op)])
            assert_same_bits(f"{name} at {position}", logits[1], expected)
