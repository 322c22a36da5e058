"""`--numerics=fast`: no farther from the truth than `tolerance.py` allows."""

from __future__ import annotations

from collections.abc import Mapping

import hookwire
import torch
from torch import Tensor

from tests.parity import tolerance
from tests.parity.conftest import Served
from tests.parity.edits import Change, change

# One run of several lengths, and one of equal lengths: the two ways in which attention is grouped.
RAGGED = (1, 7, 40, None, 31, 24)  # None: two windows and three tokens
EQUAL = (12,) * 8
# Where one position of each prompt is compared. The error of a row differs tenfold from row to row:
# over twelve rows, that of a computation which is closer to the truth was 1.8 times the other's.
MANY = RAGGED * 8

# What a fast pass looks like from outside when nobody looks into attention.
OUTSIDE = ("blocks.*.hook_out", "ln_final.hook_out", "unembed.hook_out", "hook_logits")
INDICES = "hook_indices"


def _prompts(served: Served, lengths: tuple[int | None, ...]) -> list[list[int]]:
    two_windows = 2 * served.checkpoint.window + 3
    return [
        served.checkpoint.tokens(length or two_windows, seed=20 + number)
        for number, length in enumerate(lengths)
    ]


def _choices(seen: Mapping[str, Tensor]) -> dict[int, Tensor]:
    return {
        int(name.split(".")[1]): value for name, value in seen.items() if name.endswith(INDICES)
    }


def _same(some: dict[int, Tensor], others: dict[int, Tensor]) -> bool:
    return all(torch.equal(chosen, others[layer]) for layer, chosen in some.items())


def _rows(served: Served, prompts: list[list[int]], names: list[str] | None,
          fwd_hooks: list[tuple[str, object]]) -> list[dict[str, Tensor]]:  # fmt: skip
    """One run; what each prompt saw, by canonical name, without padding."""
    _, cache = served.model.run_with_cache(
        prompts, names_filter=names, padding_side="right", fwd_hooks=fwd_hooks, return_type=None
    )
    hooks = served.model.hook_dict
    out = []
    for row, tokens in enumerate(prompts):
        seen = {}
        for name in cache:
            point = hooks[name]
            tensor = cache[name][row]
            for axis, size in enumerate(point.axes):
                tensor = tensor.narrow(axis, 0, size.size or len(tokens))
            seen[point.name] = tensor
        out.append(seen)
    return out


def _assert_all_within(
    served: Served,
    prompts: list[list[int]],
    ours: list[dict[str, Tensor]],
    changes: list[Change],
) -> None:
    """Compares every hook point of `ours`, pooled over the prompts."""
    direct, oracle = served.reference.direct, served.reference.oracle
    edits = [made.edit() for made in changes]
    reference = [direct.run(tokens, edits) for tokens in prompts]
    truth = [
        oracle.run(tokens, edits, _choices(seen))
        for tokens, seen in zip(prompts, ours, strict=True)
    ]
    reference_truth = [
        mine if _same(_choices(seen), _choices(own)) else oracle.run(tokens, edits, _choices(own))
        for tokens, seen, own, mine in zip(prompts, ours, reference, truth, strict=True)
    ]
    wrong = []
    for name in ours[0]:
        try:
            if name.endswith(INDICES):
                shares = name.replace(INDICES, "hook_out")
                for seen, exact in zip(ours, truth, strict=True):
                    tolerance.assert_choice_is_defensible(
                        name, seen[name], exact[shares], served.reference.dtype
                    )
            elif not ours[0][name].is_floating_point():
                assert all(
                    torch.equal(a[name], b[name]) for a, b in zip(ours, reference, strict=True)
                )
            else:
                tolerance.assert_within(
                    name,
                    [seen[name] for seen in ours],
                    [seen[name] for seen in reference],
                    [seen[name] for seen in truth],
                    [seen[name] for seen in reference_truth],
                )
        except AssertionError as error:
            wrong.append(str(error))
    assert not wrong, f"{len(wrong)} of {len(ours[0])}:\n" + "\n".join(wrong[:30])


def _outside(served: Served) -> list[str]:
    names = list(OUTSIDE)
    if any(name.endswith(INDICES) for name in served.model.hook_names()):
        names.append(f"blocks.*.router.{INDICES}")
    return names


def test_every_hook_point_of_sequences_of_different_lengths(fast: Served) -> None:
    prompts = _prompts(fast, RAGGED)
    _assert_all_within(fast, prompts, _rows(fast, prompts, None, []), [])


def test_fused_attention_over_sequences_of_different_lengths(fast: Served) -> None:
    prompts = _prompts(fast, RAGGED)
    _assert_all_within(fast, prompts, _rows(fast, prompts, _outside(fast), []), [])


def test_fused_attention_over_sequences_of_equal_lengths(fast: Served) -> None:
    prompts = _prompts(fast, EQUAL)
    _assert_all_within(fast, prompts, _rows(fast, prompts, _outside(fast), []), [])


def test_logits_of_one_position_are_those_of_all(fast: Served) -> None:
    prompts = _prompts(fast, MANY)
    direct, oracle = fast.reference.direct, fast.reference.oracle
    choices = [{} for _ in prompts]
    if indices := _outside(fast)[len(OUTSIDE) :]:
        choices = [_choices(seen) for seen in _rows(fast, prompts, indices, [])]
    last = fast.model(prompts, logits_pos=-1, padding_side="right")
    reference = [direct.run(tokens) for tokens in prompts]

    def truth(choices: list[dict[int, Tensor]]) -> list[Tensor]:
        return [
            oracle.run(tokens, choices=chosen)["hook_logits"][-1]
            for tokens, chosen in zip(prompts, choices, strict=True)
        ]

    tolerance.assert_within(
        "logits[-1]",
        [row[-1] for row in last],
        [seen["hook_logits"][-1] for seen in reference],
        truth(choices),
        truth([_choices(seen) for seen in reference]),
    )


def test_edits_at_hook_points_all_over_the_model(fast: Served) -> None:
    prompts = _prompts(fast, EQUAL)
    plain = fast.reference.direct.run(prompts[0])
    writable = [p.name for p in fast.model.hook_dict.values() if p.writable]
    parts = ("blocks.0.hook_in", "blocks.0.attn.q.hook_out", "blocks.1.attn.hook_pattern",
             "blocks.1.attn.hook_attn_scores", "blocks.1.attn.o.hook_in", "blocks.1.hook_resid_mid",
             "blocks.1.mlp.out.hook_in", "blocks.1.hook_rot_k", "blocks.2.hook_out",
             "blocks.2.ln2.hook_normalized", "blocks.2.attn.hook_result",
             "blocks.2.per_layer_input_gate.hook_out", "ln_final.hook_out")  # fmt: skip
    names = [name for name in parts if name in writable]
    assert len(names) >= 10
    for seed, name in enumerate(names):
        made = change(name, "set", plain[name], seed)
        hooks = [(name, made.op(hookwire.ops, row=None, from_row=0))]
        ours = _rows(fast, prompts, _outside(fast), hooks)
        _assert_all_within(fast, prompts, ours, [made])
