"""`--numerics=reference`: a sequence's bits do not depend on what else is in the run."""

from __future__ import annotations

from tests.parity.conftest import Served
from tests.parity.test_reads import assert_all_same_bits


def test_a_sequence_has_the_same_bits_alone_and_among_others(exact: Served) -> None:
    window = exact.checkpoint.window
    lengths = (2 * window + 3, 1, 5, window + 1)
    prompts = [exact.checkpoint.tokens(length, seed=4) for length in lengths]
    logits, together = exact.model.run_with_cache(prompts, names_filter=None, padding_side="right")
    for row, tokens in enumerate(prompts):
        alone_logits, alone = exact.model.run_with_cache([tokens], names_filter=None)
        pairs = [("logits", logits[row, : len(tokens)], alone_logits[0])]
        for name in alone:
            cut = together[name][row]
            for axis, size in enumerate(alone[name][0].shape):
                cut = cut.narrow(axis, 0, size)  # what is left is padding
            pairs.append((name, cut, alone[name][0]))
        assert len(pairs) > 100
        assert_all_same_bits(pairs)


def test_the_order_of_the_sequences_does_not_matter(exact: Served) -> None:
    prompts = [exact.checkpoint.tokens(length, seed=5) for length in (9, 9, 9)]
    forth = exact.model(prompts)
    back = exact.model(prompts[::-1])
    assert_all_same_bits([("logits", forth, back.flip(0))])


def test_left_and_right_padding_give_the_same_bits(exact: Served) -> None:
    prompts = [exact.checkpoint.tokens(length, seed=6) for length in (4, 11)]
    left = exact.model(prompts, padding_side="left")
    right = exact.model(prompts, padding_side="right")
    assert_all_same_bits([("logits", left[0, -4:], right[0, :4]), ("logits", left[1], right[1])])
    assert not right[0, 4:].any()
