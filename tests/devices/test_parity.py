"""`--device` with two devices that are not the CPU: the same parity as on the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parity import test_fast, test_reads, test_writes
from tests.parity.conftest import WRITTEN, Served, id_of, serve

# On the fake device, the bits of experts depend on how it lays out memory (tests/fake_device).
EXACT = [served for served in WRITTEN if not served[0].startswith("moe")]
DEVICES = "fake:0,fake:1"


@pytest.fixture(scope="module", params=EXACT, ids=id_of)
def exact(request: pytest.FixtureRequest) -> Iterator[Served]:
    yield from serve(request, "reference", DEVICES)


@pytest.fixture(scope="module", params=WRITTEN, ids=id_of)
def fast(request: pytest.FixtureRequest) -> Iterator[Served]:
    yield from serve(request, "fast", DEVICES)


def test_every_hook_point_has_the_bits_of_the_reference(exact: Served) -> None:
    test_reads.test_every_hook_point_of_the_catalogue(exact, "two windows and more")


def test_losses_are_those_of_the_reference(exact: Served) -> None:
    test_reads.test_loss_is_the_cross_entropy_of_the_reference_logits(exact)


def test_edits_have_the_effect_that_they_have_in_the_reference(exact: Served) -> None:
    test_writes.test_a_capture_sees_the_edited_value(exact)
    test_writes.test_ops_at_several_hook_points_and_twice_at_one(exact)
    test_writes.test_minus_infinity_knocks_attention_out(exact)


def test_every_hook_point_is_near_the_truth(fast: Served) -> None:
    test_fast.test_every_hook_point_of_sequences_of_different_lengths(fast)


def test_fused_attention_is_near_the_truth(fast: Served) -> None:
    test_fast.test_fused_attention_over_sequences_of_different_lengths(fast)
    test_fast.test_logits_of_one_position_are_those_of_all(fast)


def test_edits_end_near_the_truth(fast: Served) -> None:
    test_fast.test_edits_at_hook_points_all_over_the_model(fast)
