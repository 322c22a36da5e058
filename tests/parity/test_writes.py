"""`--numerics=reference`: what an op at any writable hook point does to the logits.

The expected logits come from the direct computation with the same edit, which `test_harness.py`
shows to equal TransformerLens bit for bit wherever TransformerLens means the same.
"""

from __future__ import annotations

import zlib

import hookwire
import pytest
import torch

from tests.parity import tolerance
from tests.parity.conftest import Served
from tests.parity.edits import KINDS, Change, change
from tests.parity.test_reads import assert_same_bits

# The products that an edit here brings in are defined up to rounding.
NOT_EXACT = ("hook_q_input", "hook_k_input", "hook_v_input", "hook_result")


def _changes(name: str, sample: torch.Tensor) -> list[Change]:
    seed = zlib.crc32(name.encode())
    return [change(name, kind, sample, seed + number) for number, kind in enumerate(KINDS)]


def _bits(logits: torch.Tensor) -> torch.Tensor:
    """NaN equals NaN: a divisor of zero is allowed, and gives it on both sides."""
    return logits.nan_to_num(nan=1e30)


@pytest.mark.timeout(900)  # some two thousand passes
@pytest.mark.filterwarnings("ignore::hookwire.NonFiniteWarning")  # asked for: division by zero
def test_every_op_at_every_writable_hook_point(exact_small: Served) -> None:
    served = exact_small
    length = served.checkpoint.window + 2
    tokens, other = served.checkpoint.tokens(length), served.checkpoint.tokens(length, seed=7)
    direct = served.reference.direct
    plain, source = direct.run(tokens), direct.run(other)
    points = {point.name: point for point in served.model.hook_dict.values()}
    writable = [name for name, point in points.items() if point.writable]
    assert len(writable) > 150
    assert {name.rsplit(".", 1)[-1] for name in points if name not in writable} <= {
        "hook_in", "hook_indices",
    }  # fmt: skip
    wrong, inert = [], []
    for name in writable:
        changes = _changes(name, plain[name])
        # Row 0 is what `copy` copies from; then one row for each op.
        hooks = [
            (name, made.op(hookwire.ops, row=row, from_row=0))
            for row, made in enumerate(changes, start=1)
        ]
        logits = served.model.run_with_hooks([other, *[tokens] * len(changes)], fwd_hooks=hooks)
        assert_same_bits(f"{name}: the row that is copied from", logits[0], source["hook_logits"])
        for row, made in enumerate(changes, start=1):
            expected = direct.run(tokens, [made.edit(source)])["hook_logits"]
            try:
                if name.endswith(NOT_EXACT):
                    _assert_near(served, made, tokens, other, logits[row], expected)
                else:
                    assert_same_bits(f"{name} {made.kind}", _bits(logits[row]), _bits(expected))
            except AssertionError as error:
                wrong.append(str(error))
            if torch.equal(_bits(expected), _bits(plain["hook_logits"])):
                inert.append(f"{name} {made.kind}")
    assert not wrong, f"{len(wrong)} of {len(KINDS) * len(writable)}:\n" + "\n".join(wrong[:30])
    # A change that shows nowhere proves nothing; a few may fall on what nobody reads.
    assert len(inert) < len(KINDS) * len(writable) / 20, inert


def _assert_near(
    served: Served,
    made: Change,
    tokens: list[int],
    other: list[int],
    ours: torch.Tensor,
    expected: torch.Tensor,
) -> None:
    oracle = served.reference.oracle
    truth = oracle.run(tokens, [made.edit(oracle.run(other))])["hook_logits"]
    tolerance.assert_within(f"{made.name} {made.kind}", [ours], [expected], [truth])


def test_a_capture_sees_the_edited_value(exact_small: Served) -> None:
    served = exact_small
    tokens = served.checkpoint.tokens(served.checkpoint.window + 2)
    direct = served.reference.direct
    plain = direct.run(tokens)
    for name in (
        "blocks.1.hook_resid_mid",
        "blocks.1.attn.hook_attn_scores",
        "blocks.1.ln2.hook_in",
    ):
        made = change(name, "add", plain[name], 11)
        expected = direct.run(tokens, [made.edit()])
        _, cache = served.model.run_with_cache(
            [tokens],
            names_filter=[name, "blocks.1.hook_out"],
            fwd_hooks=[(name, made.op(hookwire.ops, row=0, from_row=0))],
        )
        for key in (name, "blocks.1.hook_out"):
            assert_same_bits(key, cache[key][0], expected[key])


def test_ops_at_several_hook_points_and_twice_at_one(exact_small: Served) -> None:
    served = exact_small
    tokens = served.checkpoint.tokens(served.checkpoint.window + 2)
    direct = served.reference.direct
    plain = direct.run(tokens)
    names = ("blocks.0.mlp.gate.hook_out", "blocks.1.hook_in", "blocks.1.hook_in",
             "blocks.1.attn.hook_pattern", "ln_final.hook_out")  # fmt: skip
    made = [
        change(name, kind, plain[name], seed)
        for seed, (name, kind) in enumerate(
            zip(names, ("add", "set", "scale", "scale", "zero"), strict=True)
        )
    ]
    expected = direct.run(tokens, [one.edit() for one in made])["hook_logits"]
    hooks = [(one.name, one.op(hookwire.ops, row=0, from_row=0)) for one in made]
    assert_same_bits("logits", served.model.run_with_hooks([tokens], fwd_hooks=hooks)[0], expected)


def test_minus_infinity_knocks_attention_out(exact_small: Served) -> None:
    served = exact_small
    tokens = served.checkpoint.tokens(served.checkpoint.window + 2)
    name = "blocks.1.attn.hook_attn_scores"
    # The second head no longer sees the first position, except from there.
    later = list(range(1, len(tokens)))

    def edit(scores: torch.Tensor) -> torch.Tensor:
        scores[1, 1:, 0] = -torch.inf
        return scores

    expected = served.reference.direct.run(tokens, [(name, edit)])["hook_logits"]
    op = hookwire.ops.set(-float("inf"), head=1, pos=later, feature=0)
    assert_same_bits(
        name, served.model.run_with_hooks([tokens], fwd_hooks=[(name, op)])[0], expected
    )


def test_an_edit_of_one_row_leaves_the_others_their_bits(exact_small: Served) -> None:
    served = exact_small
    prompts = [served.checkpoint.tokens(length, seed=8) for length in (9, 4, 12)]
    before = served.model(prompts, padding_side="right")
    hooks = [("blocks.*.hook_in", hookwire.ops.scale(0.5, row=1))]
    after = served.model.run_with_hooks(prompts, fwd_hooks=hooks, padding_side="right")
    assert_same_bits("row 0", after[0], before[0])
    assert_same_bits("row 2", after[2], before[2])
    assert not torch.equal(after[1], before[1])
