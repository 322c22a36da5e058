"""What the command can do, from Python: `patching.sweep` and `model.logit_lens`."""

from __future__ import annotations

import hookwire
import numpy as np
import pytest
from hookwire import aio, ops, patching
from hookwire.errors import ArgumentError, ArgumentTypeError, PositionOutOfRangeError


def test_a_sweep_is_a_run_with_one_patch_at_each_place(model: hookwire.RemoteModel) -> None:
    clean, corrupted = [3, 4, 5, 6], [3, 7, 5, 6]
    found = patching.sweep(model, clean, corrupted, answer=8, against=9, layers=[0, 2], at=[1, -1])
    assert found.hooks == ["blocks.0.hook_resid_pre", "blocks.2.hook_resid_pre"]
    assert (found.layers, found.places, found.rows) == ([0, 2], [1, 3], ["0", "2"])
    for row, hook in enumerate(found.hooks):
        for column, pos in enumerate(found.places):
            op = ops.copy(from_row=0, row=1, pos=pos)
            logits = model.run_with_hooks([clean, corrupted], fwd_hooks=[(hook, op)])
            want = float(logits[1, -1, 8]) - float(logits[1, -1, 9])
            assert found.values[row, column] == pytest.approx(want, abs=1e-4)
    plain = np.asarray(model([clean, corrupted])[:, -1], np.float64)
    want = plain[:, 8] - plain[:, 9]
    assert [found.clean, found.corrupted] == pytest.approx(list(want), abs=1e-4)
    assert found.measures() == f"logit({found.words[0]}) − logit({found.words[1]})"


def test_tensors_may_be_torch(server: str, model: hookwire.RemoteModel) -> None:
    given = ([3, 4, 5, 6], [3, 7, 5, 6])
    with hookwire.connect(server, tensors="torch", quiet=True) as other:
        ours = patching.sweep(other, *given, answer=8, against=9)
        assert np.array_equal(
            ours.values, patching.sweep(model, *given, answer=8, against=9).values
        )
        lens = other.logit_lens(given[0])
        assert np.array_equal(lens.ids, model.logit_lens(given[0]).ids)


def test_what_cannot_be_swept(model: hookwire.RemoteModel) -> None:
    with pytest.raises(ArgumentError, match=r"clean has 2 tokens and corrupted 3"):
        patching.sweep(model, [1, 2], [1, 2, 3])
    with pytest.raises(ArgumentError, match="name two with answer="):
        patching.sweep(model, [1, 2], [1, 2])
    with pytest.raises(ArgumentError, match="no heads"):
        patching.sweep(model, [1, 2], [1, 3], by="head", answer=1, against=2)
    with pytest.raises(ArgumentTypeError, match="takes the model of"):
        patching.sweep("model", [1, 2], [1, 3])  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match=r"did you mean 'metric'"):
        patching.sweep(model, [1, 2], [1, 3], metrik="prob")  # type: ignore[call-arg]
    with pytest.raises(ArgumentError, match="one prompt"):
        model.logit_lens([[1, 2], [3, 4]])
    with pytest.raises(PositionOutOfRangeError, match="layers=9"):
        model.logit_lens([1, 2], layers=9)


async def test_both_models_have_the_lens(server: str, model: hookwire.RemoteModel) -> None:
    want = model.logit_lens("When Mary and John went", layers=[0, -1], pos=[1, -1])
    last = np.asarray(model("When Mary and John went"))[0, [1, -1]]
    assert want.ids[1].tolist() == last.argmax(-1).tolist()
    async with await aio.connect(server, tensors="numpy", quiet=True) as twin:
        found = await twin.logit_lens("When Mary and John went", layers=[0, -1], pos=[1, -1])
    assert np.array_equal(found.ids, want.ids)
    assert np.array_equal(found.probabilities, want.probabilities)
    assert (found.layers, found.positions) == (want.layers, want.positions)
