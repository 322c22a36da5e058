"""`--numerics=reference`: every activation equals the reference's, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.parity import tolerance
from tests.parity.conftest import Served
from tests.parity.reference import canonical

# TransformerLens's cache holds the pattern under the name of the scores.
SCORES = "hook_attn_scores"
# Computed for the hook alone, by a product that the model does not make; not defined to the bit.
NOT_EXACT = ("hook_result",)


def assert_same_bits(name: str, ours: Tensor, theirs: Tensor) -> None:
    assert ours.dtype == theirs.dtype, f"{name}: {ours.dtype}, expected {theirs.dtype}"
    assert ours.shape == theirs.shape, f"{name}: {list(ours.shape)}, expected {list(theirs.shape)}"
    if not torch.equal(ours, theirs):
        different = ours != theirs
        distance = (ours.double() - theirs.double()).abs()[different].max().item()
        raise AssertionError(
            f"{name}: {int(different.sum())} of {different.numel()} elements differ,"
            f" by up to {distance:.3g}"
        )


def assert_all_same_bits(pairs: list[tuple[str, Tensor, Tensor]]) -> None:
    """All differences in one message: the first hook point that differs is where to look."""
    wrong = []
    for name, ours, theirs in pairs:
        try:
            assert_same_bits(name, ours, theirs)
        except AssertionError as error:
            wrong.append(str(error))
    assert not wrong, f"{len(wrong)} of {len(pairs)}:\n" + "\n".join(wrong[:20])


@pytest.mark.parametrize("windows", ["one token", "two windows and more"])
def test_everything_in_transformer_lens_cache(exact: Served, windows: str) -> None:
    window = exact.checkpoint.window
    tokens = exact.checkpoint.tokens(1 if windows == "one token" else 2 * window + 3)
    expected_logits, expected = exact.reference.cache(tokens)
    logits, cache = exact.model.run_with_cache([tokens], names_filter=None)
    assert_same_bits("logits", logits[0], expected_logits)
    compared = [
        name for name in expected if not name.endswith(SCORES) and not name.startswith("rotary_emb")
    ]
    assert len(compared) > 100
    missing = [name for name in compared if name not in cache]
    assert not missing, missing
    assert_all_same_bits([(name, cache[name][0], expected[name]) for name in compared])


@pytest.mark.parametrize("windows", ["one token", "two windows and more"])
def test_every_hook_point_of_the_catalogue(exact: Served, windows: str) -> None:
    window = exact.checkpoint.window
    tokens = exact.checkpoint.tokens(1 if windows == "one token" else 2 * window + 3, seed=1)
    expected = exact.reference.direct.run(tokens)
    _, cache = exact.model.run_with_cache([tokens], names_filter=None)
    hooks = exact.model.hook_dict
    assert {point.name for point in hooks.values()} == set(expected)
    assert set(cache) == set(hooks)
    pairs = [(name, cache[name][0], expected[point.name]) for name, point in hooks.items()]
    assert_all_same_bits([pair for pair in pairs if not pair[0].endswith(NOT_EXACT)])
    oracle = exact.reference.oracle.run(tokens)
    for name, ours, reference in pairs:
        if name.endswith(NOT_EXACT):
            tolerance.assert_within(name, [ours], [reference], [oracle[hooks[name].name]])


def test_asking_for_some_gives_what_asking_for_all_gives(exact: Served) -> None:
    """Neither fused attention nor a pass that ends early changes a bit."""
    tokens = exact.checkpoint.tokens(2 * exact.checkpoint.window + 3, seed=2)
    logits, everything = exact.model.run_with_cache([tokens], names_filter=None)
    for name in ("blocks.0.attn.q.hook_out", "blocks.1.hook_in", "blocks.*.hook_out"):
        _, some = exact.model.run_with_cache([tokens], names_filter=name, return_type=None)
        assert len(some) >= 1
        assert_all_same_bits([(key, some[key], everything[key]) for key in some])
    assert_same_bits("logits", exact.model([tokens]), logits)
    last = exact.model([tokens], logits_pos=-1)
    assert_same_bits("logits[-1]", last[0], logits[0, -1:])
    stopped = exact.model([tokens], stop_at_layer=2)
    assert_same_bits("blocks.2.hook_in", stopped[0], everything["blocks.2.hook_in"][0])


def test_names_and_aliases_are_those_of_transformer_lens(exact: Served) -> None:
    from transformer_lens.model_bridge.bridge_core import build_alias_to_canonical_map

    _, expected = exact.reference.cache(exact.checkpoint.tokens(3))
    hooks = exact.model.hook_dict
    theirs = build_alias_to_canonical_map(exact.reference.bridge.hook_dict)
    for name, value in expected.items():
        if name.startswith("rotary_emb"):
            assert name not in hooks
            continue
        point = hooks[name]
        if not name.endswith("hook_resid_mid"):  # the stream itself here, the branch there
            assert point.name == theirs.get(name, name) == canonical(name)
        sizes = [axis.size or 3 for axis in point.axes]
        assert sizes == list(value.shape), name


def test_loss_is_the_cross_entropy_of_the_reference_logits(exact: Served) -> None:
    tokens = exact.checkpoint.tokens(2 * exact.checkpoint.window + 3, seed=3)
    logits = exact.reference.logits(tokens).float()
    expected = torch.nn.functional.cross_entropy(
        logits[:-1], torch.tensor(tokens[1:]), reduction="none"
    )
    per_token = exact.model([tokens], return_type="loss", loss_per_token=True)
    torch.testing.assert_close(per_token[0], expected, rtol=1e-5, atol=1e-5)
    loss = exact.model([tokens], return_type="loss")
    torch.testing.assert_close(loss, expected.mean(), rtol=1e-5, atol=1e-5)
