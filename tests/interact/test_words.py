"""What the server refuses is said in the words of Python: rows, hooks and arguments."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import hookwire
import pytest
import torch
from hookwire import aio, ops
from hookwire.errors import wording

from tests.interact.conftest import Pair

STREAM, HEADS = "blocks.1.hook_in", "blocks.1.attn.q.hook_out"
PATTERN = "blocks.1.attn.hook_pattern"
WIRE = re.compile(
    r"\b(sequences?|interventions?|callbacks?)\b|\bspec\b|\boutputs\.|`|hookwire\.v1|max_message_bytes"
    r"|\b(DTYPE|MISSING|MOMENT|PRIORITY|ERROR_REASON|SOURCE)_|\b(upload|capture|intervention) \d"
)


def poison(tensor: torch.Tensor, hook: Any) -> None:
    tensor[1, 2, 1] = float("nan")


# What is provoked, and what its message must say.
REFUSED: dict[str, tuple[Any, tuple[str, ...]]] = {
    "heads where there are none": (
        {"fwd_hooks": [(STREAM, ops.zero()), (STREAM, ops.zero(head=1))]},
        ("head=", "fwd_hooks[1]", "ops.zero(head=1)"),
    ),
    "no such head": ({"fwd_hooks": [(HEADS, ops.zero(head=99))]}, ("head 99", "fwd_hooks[0]")),
    "no such feature": ({"fwd_hooks": [(STREAM, ops.zero(feature=9999))]}, ("feature 9999",)),
    "no such position": (
        {"fwd_hooks": [(STREAM, ops.zero(pos=50, row=1))]},
        ("position 50", "row 1, which has 7 tokens", "fwd_hooks[0]"),
    ),
    "a range that is too long": ({"fwd_hooks": [(STREAM, ops.zero(pos=slice(0, 99)))]}, ("row 0",)),
    "an empty range": ({"fwd_hooks": [(STREAM, ops.zero(pos=slice(3, 3)))]}, ("row 0",)),
    "a position twice": ({"fwd_hooks": [(STREAM, ops.zero(pos=[1, -6]))]}, ("row 0",)),
    "a shape": (
        {"fwd_hooks": [(STREAM, ops.set(torch.zeros(3, 5)))]},
        ("[3, 5]", "row 0", "fwd_hooks[0]", STREAM),
    ),
    "NaN": ({"fwd_hooks": [(STREAM, ops.set(float("nan")))]}, ("allow_non_finite", "fwd_hooks[0]")),
    "NaN from a function": (
        {"fwd_hooks": [(HEADS, ops.zero()), ("blocks.1.hook_resid_pre", poison)]},
        ("at blocks.1.hook_resid_pre for row 1", "fwd_hooks[1]", "poison", "allow_non_finite"),
    ),
    "onto itself": ({"fwd_hooks": [(STREAM, ops.copy(0, row=0))]}, ("row 0", "another row")),
    "nothing to write": ({"fwd_hooks": [("embed.hook_in", ops.zero())]}, ("fwd_hooks[0]",)),
    "a name in a hook": (
        {"fwd_hooks": [(["hook_embed", "blocks.1.sequence"], ops.zero())]},
        ("blocks.1.sequence", "fwd_hooks[0]"),
    ),
    "a glob in a hook": ({"fwd_hooks": [("blocks.*.nothing", ops.zero())]}, ("fwd_hooks[0]",)),
    "behind the end of a hook": (
        {"fwd_hooks": [("blocks.2.hook_in", ops.zero())], "stop_at_layer": 1},
        ("stop_at_layer", "fwd_hooks[0]"),
    ),
    "a change that nobody sees": (
        {"fwd_hooks": [("blocks.2.hook_in", ops.zero())], "names_filter": "blocks.0.hook_in",
         "return_type": None, "moment": "before"},
        ("can never show", "fwd_hooks[0]"),
    ),
    "a name": ({"names_filter": "blocks.1.hook_sequence"}, ("blocks.1.hook_sequence",)),
    "a glob": ({"names_filter": ["blocks.*.sequence 0"]}, ("blocks.*.sequence 0",)),
    "several names": ({"names_filter": ["hook_embed", "hook_embedd"]}, ("hook_embedd",)),
    "behind the end": (
        {"names_filter": "blocks.2.hook_in", "stop_at_layer": 1}, ("stop_at_layer",),
    ),
    "what enters the end": ({"names_filter": "blocks.1.hook_in", "stop_at_layer": 1}, ()),
    "a dtype": ({"names_filter": "hook_embed", "dtype": "int64"}, ("int64",)),
    "the size of the result": ({"max_result_bytes": 10}, ("max_result_bytes", "rows")),
}  # fmt: skip


def refusal(pair: Pair, wanted: dict[str, Any]) -> hookwire.HookwireError:
    tokens = torch.cat([pair.tokens(3), pair.tokens(4)])
    with pytest.raises(hookwire.HookwireError) as caught:
        pair.remote.run_with_cache(tokens, **wanted)
    assert caught.value.code is not None  # the server has said it
    return caught.value


@pytest.mark.parametrize("what", REFUSED)
def test_no_word_of_the_wire(e_type: Pair, what: str) -> None:
    wanted, said = REFUSED[what]
    error = refusal(e_type, wanted)
    text = str(error)
    # What the user has written.
    for own in (*re.findall("'[^']*'", text), error.metadata.get("hook") or "\0"):
        text = text.replace(own, "")
    assert not WIRE.search(text), str(error)
    for part in said:
        assert part in str(error)
    if error.field and error.field.startswith("spec.interventions"):
        assert "fwd_hooks[" in str(error)


@pytest.mark.parametrize(
    "tokens",
    [[[5] * 4, [10**6, 5]], [[5] * 5000], [[5] * 30] * 5000],
    ids=["no token", "too long", "too many"],
)
def test_of_the_input(e_type: Pair, tokens: Any) -> None:
    with pytest.raises(hookwire.HookwireError, match="row") as caught:
        e_type.remote(tokens, return_type=None)
    assert caught.value.code is not None
    assert not WIRE.search(str(caught.value)), str(caught.value)


@pytest.mark.parametrize("targets", [[10**6], [10**6, 3]])
def test_of_targets(e_type: Pair, targets: Any) -> None:
    with pytest.raises(hookwire.TokenOutOfRangeError, match="of row 0") as caught:
        e_type.remote.log_probs(e_type.tokens(), targets)
    assert not WIRE.search(str(caught.value)), str(caught.value)


def test_rows_of_different_lengths(e_type: Pair) -> None:
    with pytest.raises(hookwire.ValueShapeError, match=r"in row 0 .* and in row 1") as caught:
        e_type.remote.run_with_hooks(
            [[5, 6, 7], [5, 6]], [(STREAM, ops.copy(0))], padding_side="right"
        )
    assert not WIRE.search(str(caught.value)), str(caught.value)


def test_a_hook_that_stays_is_told_from_those_of_the_run(e_type: Pair) -> None:
    bad = (STREAM, ops.zero(head=1))
    with e_type.remote.hooks(fwd_hooks=[bad]), pytest.raises(hookwire.NoHeadsError) as caught:
        e_type.remote.run_with_hooks(e_type.tokens(), [(STREAM, ops.zero())])
    assert "a hook that stays" in str(caught.value)
    with e_type.remote.hooks(fwd_hooks=[(STREAM, ops.zero())]):
        with pytest.raises(hookwire.NoHeadsError, match=r"fwd_hooks\[1\]"):
            e_type.remote.run_with_hooks(e_type.tokens(), [(STREAM, ops.zero()), bad])
        with pytest.raises(hookwire.NoHeadsError, match=r"fwd_hooks\[0\]"):
            e_type.remote.plan(e_type.tokens(), fwd_hooks=[bad])


async def test_from_the_asynchronous_model(e_type: Pair) -> None:
    hooks = [(["blocks.*.hook_in"], ops.zero()), (STREAM, ops.zero(head=1))]
    async with await aio.connect(e_type.address, quiet=True) as model:
        for call in (
            model.run_with_hooks(e_type.tokens(), hooks),
            model.plan(e_type.tokens(), fwd_hooks=hooks),
        ):
            with pytest.raises(hookwire.NoHeadsError, match=r"head=.*fwd_hooks\[1\]"):
                await call


SERVER = Path(__file__).resolve().parents[2] / "server"
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')


@pytest.mark.parametrize("room", ["plan", "execute", "schedule", "stream"])
def test_every_sentence_that_the_server_has(room: str) -> None:
    """Whatever stands in quotes in its source, beside names of files and fields."""
    found = 0
    for path in sorted((SERVER / room).glob("*.cc")):
        source = re.sub(r"^\s*(//|#include).*$", "", path.read_text(), flags=re.M)
        source = re.sub(r'"\s*\n\s*"', "", source)
        for literal in LITERAL.findall(source):
            if " " not in literal or "spec.interventions[" in literal:
                continue
            said = wording.in_python(literal, "", None)
            assert not WIRE.search(said.replace("`", "")), (path.name, literal, said)
            found += 1
    assert found > 2


@pytest.mark.parametrize(
    ("message", "field", "want"),
    [
        ("spec.interventions[3].set.value is missing: set `scalar`",
         "spec.interventions[3].set.value", "a hook's value is missing: set scalar"),
        ("spec.captures[0] names no hook point", "spec.captures[0].hook",
         "names_filter names no hook point"),
        ("spec.sequences[4] is wrong", "spec.sequences[4].token_ids", "row 4 is wrong"),
        ("the pass waited for its client for 5 s at intervention 12, and another run",
         "spec.interventions[12]",
         "the pass waited for its client for 5 s at a hook's function, and another run"),
        ("a value cannot be DTYPE_INT64: send", None, "a value cannot be int64: send"),
        ("no hook point is called 'sequence `heads` 0' in sequence 0", None,
         "no hook point is called 'sequence `heads` 0' in row 0"),
        ("upload 0 has no dtype", "spec.interventions[0]", "a hook's value has no dtype"),
        ("ask for fewer tensors, or set max_message_bytes", None, "ask for fewer tensors"),
        ("consequences", "spec", "consequences"),
    ],
)  # fmt: skip
def test_sentences(message: str, field: str | None, want: str) -> None:
    assert wording.in_python(message, "", field) == want
