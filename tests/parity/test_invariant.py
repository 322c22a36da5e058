"""`--numerics=invariant`: a run's bits do not depend on others, and are near the truth."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.parity import test_fast
from tests.parity.conftest import WRITTEN, Served, id_of, serve

LENGTHS = (5, 37, 12, 12, 1, 60)


@pytest.fixture(scope="module", params=WRITTEN, ids=id_of)
def invariant(request: pytest.FixtureRequest) -> Iterator[Served]:
    yield from serve(request, "invariant")


def test_a_run_has_the_bits_that_it_has_alone(invariant: Served) -> None:
    model = invariant.model
    prompts = [invariant.checkpoint.tokens(n, seed=n) for n in LENGTHS]
    names = ["blocks.*.hook_out", "ln_final.hook_out"]
    logits, together = model.run_with_cache(prompts, names_filter=names, padding_side="right")
    for row, tokens in enumerate(prompts):
        alone_logits, alone = model.run_with_cache([tokens], names_filter=names)
        assert torch.equal(logits[row, : len(tokens)], alone_logits[0]), (row, "logits")
        for name in alone:
            assert torch.equal(together[name][row, : len(tokens)], alone[name][0]), (row, name)


def test_every_hook_point_is_near_the_truth(invariant: Served) -> None:
    test_fast.test_every_hook_point_of_sequences_of_different_lengths(invariant)
