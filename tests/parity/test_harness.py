"""The references agree with one another: without this, agreeing with them would prove nothing."""

from __future__ import annotations

import pytest
import torch

from tests.parity import tolerance
from tests.parity.checkpoints import Checkpoint
from tests.parity.edits import change
from tests.parity.reference import NOT_THE_SAME_WRITE, REFERENCE_DEVICE, Reference, canonical

Case = tuple[Checkpoint, Reference]

# What TransformerLens's cache holds under a name that means something else there.
NOT_THE_SAME_VALUE = (
    "hook_attn_scores",
    "rotary_emb.hook_in",
    "rotary_emb.hook_cos",
    "rotary_emb.hook_sin",
)


@pytest.mark.parametrize("windows", [0, 2])
def test_direct_computation_equals_both_references_bit_for_bit(
    reference: Case, windows: int
) -> None:
    checkpoint, ours = reference
    tokens = checkpoint.tokens(1 if windows == 0 else 2 * checkpoint.window + 3)
    logits, cache = ours.cache(tokens)
    direct = ours.direct.run(tokens)
    assert torch.equal(logits, ours.logits(tokens))
    assert torch.equal(direct["hook_logits"], logits)
    compared = [name for name in cache if not name.endswith(NOT_THE_SAME_VALUE)]
    assert len(compared) > 100
    for name in compared:
        ours_there = direct[canonical(name)]
        assert ours_there.dtype == cache[name].dtype, name
        assert torch.equal(ours_there, cache[name]), name


@pytest.mark.timeout(900)  # some four hundred passes
def test_edited_direct_computation_equals_transformer_lens_bit_for_bit(
    small_reference: Case,
) -> None:
    checkpoint, ours = small_reference
    tokens = checkpoint.tokens(checkpoint.window + 2)
    plain, cache = ours.cache(tokens)
    written = 0
    for seed, (name, value) in enumerate(cache.items()):
        if name.endswith(NOT_THE_SAME_WRITE) or not value.is_floating_point():
            continue
        if name.startswith("rotary_emb") or canonical(name) != name:
            continue
        edit = change(name, "set", value, seed).edit()
        expected = ours.edited(tokens, [edit])
        direct = ours.direct.run(tokens, [edit])["hook_logits"]
        assert torch.equal(direct, expected), name
        written += not torch.equal(direct, plain)
    assert written > 50


def test_edit_in_place_of_the_stream_equals_ours_at_resid_mid(small_reference: Case) -> None:
    """TransformerLens's ln2.hook_in, edited in place, reaches all that read the stream."""
    checkpoint, ours = small_reference
    tokens = checkpoint.tokens(checkpoint.window + 2)
    sample = ours.direct.run(tokens)["blocks.1.hook_resid_mid"]
    made = change("blocks.1.hook_resid_mid", "add", sample, 5)
    name, edit = made.edit()

    def in_place(value: torch.Tensor, hook: object) -> None:
        value[0].copy_(edit(value[0].clone()))

    with torch.no_grad():
        expected = ours.bridge.run_with_hooks(
            torch.tensor([tokens], device=REFERENCE_DEVICE),
            fwd_hooks=[("blocks.1.ln2.hook_in", in_place)],
        )[0].cpu()
    assert torch.equal(ours.direct.run(tokens, [(name, edit)])["hook_logits"], expected)


def test_hook_points_of_our_own_fit_their_neighbours(reference: Case) -> None:
    """What the hook points that nobody else has are defined by."""
    checkpoint, ours = reference
    seen = ours.oracle.run(checkpoint.tokens(2 * checkpoint.window + 3))
    close = {"rtol": 1e-4, "atol": 1e-4}
    for index, scalar in enumerate(layer.layer_scalar for layer in ours.oracle.text.layers):
        at = {name.split(".", 2)[2]: value for name, value in seen.items()
              if name.startswith(f"blocks.{index}.")}  # fmt: skip
        pattern = at["attn.hook_attn_scores"].softmax(-1)
        torch.testing.assert_close(pattern, at["attn.hook_pattern"], **close)
        torch.testing.assert_close(at["attn.hook_result"].sum(1), at["attn.hook_out"], **close)
        copies = at["hook_in"][:, None].expand_as(at["attn.hook_q_input"])
        assert torch.equal(at["attn.hook_q_input"], copies)
        middle = at["hook_in"] + at["ln1_post.hook_out"]
        torch.testing.assert_close(at["hook_resid_mid"], middle, **close)
        after = middle + at["ln2_post.hook_out"]
        if "post_per_layer_input_norm.hook_out" in at:
            after = after + at["post_per_layer_input_norm.hook_out"]
        torch.testing.assert_close(at["hook_out"], after * scalar, **close)
        for norm in [
            name.removesuffix(".hook_scale") for name in at if name.endswith("hook_scale")
        ]:
            normalized = at[f"{norm}.hook_in"] / at[f"{norm}.hook_scale"]
            torch.testing.assert_close(at[f"{norm}.hook_normalized"], normalized, **close)
        if "router.hook_scores" in at:
            shares = at["router.hook_scores"].softmax(-1)
            torch.testing.assert_close(at["router.hook_out"], shares, **close)
            chosen = at["router.hook_out"].topk(at["router.hook_indices"].shape[1])[1]
            assert torch.equal(chosen, at["router.hook_indices"])


def test_transformers_is_within_the_tolerance_of_fast_numerics(reference: Case) -> None:
    checkpoint, ours = reference
    prompts = [checkpoint.tokens(length) for length in (1, 7, 2 * checkpoint.window + 3, 40)]
    own, truth = [], []
    for tokens in prompts:
        seen = ours.direct.run(tokens)
        choices = {int(name.split(".")[1]): value for name, value in seen.items()
                   if name.endswith("hook_indices")}  # fmt: skip
        own.append(seen["hook_logits"])
        oracle = ours.oracle.run(tokens, choices=choices)
        truth.append(oracle["hook_logits"])
        for layer, chosen in choices.items():
            shares = oracle[f"blocks.{layer}.router.hook_out"]
            tolerance.assert_choice_is_defensible("router", chosen, shares, ours.dtype)
    tolerance.assert_within("hook_logits", own, own, truth)


def test_tolerance_refuses_a_wrong_element() -> None:
    truth = torch.linspace(-2, 2, 9999, dtype=torch.float64)
    near = truth.float()
    tolerance.assert_within("near", [near], [near], [truth])
    wrong = near.clone()
    wrong[500] += 1.2e-6
    with pytest.raises(AssertionError, match="largest error"):
        tolerance.assert_within("wrong", [wrong], [near], [truth])
    with pytest.raises(AssertionError, match="rms error"):
        tolerance.assert_within("coarse", [near.bfloat16().float()], [near], [truth])
