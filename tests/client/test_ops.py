"""Ops are checked values, and land on the rows, positions and features that the user named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hookwire
import ml_dtypes
import numpy as np
import pytest
import torch
from hookwire import ops

from tests.client import fake_model
from tests.client.fake_server import FakeServer

LONG, SHORT = [3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5]
TWO = [LONG, LONG[::-1]]
RANDOM = np.random.default_rng(5)


def tensor(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def reference(
    rows: list[list[int]], hook: str, edit: Callable[[list[np.ndarray]], None]
) -> list[np.ndarray]:
    """Each row's logits after an edit, in place, of all rows' tensors at one hook point."""
    canonical = fake_model.BY_NAME[hook].name

    def tap(name: str, tensors: list[np.ndarray]) -> list[np.ndarray]:
        tensors = [np.array(tensor) for tensor in tensors]
        if name == canonical:
            edit(tensors)
        return tensors

    return fake_model.forward([np.array(row) for row in rows], tap)


def check(
    model: hookwire.RemoteModel, hook: str, op: ops.Op, edit: Any, rows: Any = TWO, **options: Any
) -> None:
    logits = model.run_with_hooks(rows, fwd_hooks=[(hook, op)], **options)
    mask = np.array([[True] * len(LONG)] * len(rows))
    if "padding_side" in options:
        for real, row in zip(mask, rows, strict=True):
            outside = (
                slice(len(row), None)
                if options["padding_side"] == "right"
                else slice(len(LONG) - len(row))
            )
            real[outside] = False
    for got, real, want in zip(logits, mask, reference(rows, hook, edit), strict=True):
        assert np.array_equal(got[real], want)
        assert not got[~real].any()


def test_set_a_number(model: hookwire.RemoteModel) -> None:
    def edit(x: list[np.ndarray]) -> None:
        x[0][2] = x[1][2] = 0.5

    check(model, "blocks.1.hook_resid_pre", ops.set(0.5, pos=2), edit)


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, np.ndarray.tolist])
def test_set_a_vector(model: hookwire.RemoteModel, kind: Any) -> None:
    value = tensor(4)

    def edit(x: list[np.ndarray]) -> None:
        x[1][-1] = value

    check(model, "blocks.1.hook_in", ops.set(kind(value), pos=-1, row=1), edit)


def test_set_a_value_for_each_row(model: hookwire.RemoteModel) -> None:
    value = tensor(2, len(LONG), 4)

    def edit(x: list[np.ndarray]) -> None:
        x[0][:], x[1][:] = value

    check(model, "blocks.1.hook_in", ops.set(value), edit)
    check(model, "blocks.1.hook_in", ops.set(torch.tensor(value[[1, 0]]), row=[1, 0]), edit)


def test_a_batch_of_one_serves_all_rows(model: hookwire.RemoteModel, server: FakeServer) -> None:
    value = tensor(1, len(LONG), 4)

    def edit(x: list[np.ndarray]) -> None:
        x[0][:] = x[1][:] = value[0]

    check(model, "blocks.1.hook_in", ops.set(value), edit)
    assert len(server.specs[-1].interventions) == 1


def test_a_cached_tensor_can_be_put_back(model: hookwire.RemoteModel) -> None:
    _, cache = model.run_with_cache([LONG, SHORT], padding_side="left")
    clean = model([LONG, SHORT], padding_side="left")
    for hook in ("blocks.1.hook_in", "blocks.1.attn.hook_pattern", "blocks.1.attn.hook_q"):
        patched = model.run_with_hooks(
            [LONG, SHORT],
            fwd_hooks=[("hook_embed", ops.zero()), (hook, ops.set(cache[hook]))],
            padding_side="left",
        )
        again = model.run_with_hooks(
            [LONG, SHORT], fwd_hooks=[(hook, ops.set(cache[hook]))], padding_side="left"
        )
        assert np.array_equal(again, clean)
        assert not np.array_equal(patched, clean) or hook == "blocks.1.hook_in"


def test_heads_and_features(model: hookwire.RemoteModel) -> None:
    def edit(x: list[np.ndarray]) -> None:
        for part in x:
            part[1:3, 1, 0] = 0

    check(model, "blocks.2.attn.hook_q", ops.zero(pos=slice(1, 3), head=1, feature=0), edit)


def test_patterns(model: hookwire.RemoteModel) -> None:
    def edit(x: list[np.ndarray]) -> None:
        x[0][0][np.ix_([4, 5], [1, 2])] = 0

    op = ops.set(0.0, head=0, pos=[4, 5], feature=[1, 2], row=0)
    check(model, "blocks.2.attn.hook_pattern", op, edit)


def test_add_and_scale(model: hookwire.RemoteModel) -> None:
    value = tensor(len(LONG), 4)

    def edit(x: list[np.ndarray]) -> None:
        for part in x:
            part += value

    check(model, "blocks.1.hook_in", ops.add(value), edit)

    def double(x: list[np.ndarray]) -> None:
        x[1] *= np.float32(2)

    check(model, "blocks.1.hook_in", ops.scale(2, row=-1), double)


def test_copy(model: hookwire.RemoteModel, server: FakeServer) -> None:
    def edit(x: list[np.ndarray]) -> None:
        x[1][3] = x[0][3]

    check(model, "blocks.1.hook_in", ops.copy(from_row=0, pos=3), edit)
    assert list(server.specs[-1].interventions[0].sequences) == [1]
    check(model, "blocks.1.hook_in", ops.copy(0, row=1, pos=3), edit)
    check(model, "blocks.1.hook_in", ops.copy(-2, row=[1], pos=-5), edit)


def test_globs_lists_and_functions_name_places(
    model: hookwire.RemoteModel, server: FakeServer
) -> None:
    for where in (
        "blocks.*.hook_resid_pre",
        [f"blocks.{i}.hook_in" for i in range(3)],
        lambda name: name.endswith(("hook_resid_pre", "hook_in")) and name.startswith("blocks"),
    ):
        logits = model.run_with_hooks([LONG], fwd_hooks=[(where, ops.zero())])
        assert not logits[:, :, 0].any()
        spec = server.specs[-1]
        assert len(server.specs[-1].interventions) in (1, 3)
        assert sum(1 for item in spec.interventions if "2" in item.hook) <= 1
    with pytest.raises(hookwire.GlobNoMatchError):
        model.run_with_hooks([LONG], fwd_hooks=[(lambda name: False, ops.zero())])
    with pytest.raises(TypeError, match="hook point"):
        model.run_with_hooks([LONG], fwd_hooks=[(3, ops.zero())])


def test_a_glob_with_a_value_for_each_row(model: hookwire.RemoteModel) -> None:
    value = tensor(2, len(LONG), 4)
    at_all = model.run_with_hooks(TWO, fwd_hooks=[("blocks.*.hook_in", ops.set(value))])
    at_last = model.run_with_hooks(TWO, fwd_hooks=[("blocks.2.hook_in", ops.set(value))])
    assert np.array_equal(at_all, at_last)


def test_order_is_kept(model: hookwire.RemoteModel) -> None:
    def edit(x: list[np.ndarray]) -> None:
        for part in x:
            part[:] = 3

    hooks = [("blocks.0.hook_in", ops.set(1.0)), ("blocks.0.hook_in", ops.add(2.0))]
    got = model.run_with_hooks(TWO, fwd_hooks=hooks)
    assert np.array_equal(got, np.stack(reference(TWO, "blocks.0.hook_in", edit)))
    back = model.run_with_hooks(TWO, fwd_hooks=hooks[::-1])
    assert not np.array_equal(got, back)


# Padding: positions are those of the padded rows.
PADDED = [LONG, SHORT]


@pytest.mark.parametrize(("side", "pos"), [("right", 1), ("right", -7), ("left", -2), ("left", 6)])
def test_positions_in_padded_rows(model: hookwire.RemoteModel, side: str, pos: int) -> None:
    value = tensor(4)
    local = pos % len(LONG) - (len(LONG) - len(SHORT) if side == "left" else 0)

    def edit(x: list[np.ndarray]) -> None:
        x[0][pos] = value
        x[1][local] = value

    check(model, "blocks.1.hook_in", ops.set(value, pos=pos), edit, PADDED, padding_side=side)


def test_a_value_over_all_positions_of_padded_rows(model: hookwire.RemoteModel) -> None:
    value, each = tensor(len(LONG), 4), tensor(2, len(LONG), 4)

    def edit(x: list[np.ndarray]) -> None:
        x[0] += value
        x[1] += value[-3:]

    check(model, "blocks.1.hook_in", ops.add(value), edit, PADDED, padding_side="left")

    def edit_each(x: list[np.ndarray]) -> None:
        x[0] += each[0]
        x[1] += each[1][:3]

    check(model, "blocks.1.hook_in", ops.add(each), edit_each, PADDED, padding_side="right")


def test_patterns_of_padded_rows(model: hookwire.RemoteModel) -> None:
    def edit(x: list[np.ndarray]) -> None:
        x[0][:, -1, -2] = 0
        x[1][:, -1, -2] = 0

    op = ops.zero(pos=-1, feature=-2)
    check(model, "blocks.1.attn.hook_pattern", op, edit, PADDED, padding_side="left")


@pytest.mark.parametrize(("side", "pos"), [("right", 1), ("left", -1)])
def test_copy_between_rows_of_different_lengths(
    model: hookwire.RemoteModel, side: str, pos: int
) -> None:
    def edit(x: list[np.ndarray]) -> None:
        x[1][pos] = x[0][pos]

    check(model, "blocks.1.hook_in", ops.copy(0, pos=pos), edit, PADDED, padding_side=side)


def test_a_position_on_padding(model: hookwire.RemoteModel) -> None:
    for op in (ops.zero(pos=5), ops.zero(pos=slice(2, 5)), ops.copy(0, pos=-1)):
        with pytest.raises(hookwire.PositionOutOfRangeError, match=r"padding of row 1.*at 0 to 2"):
            model.run_with_hooks(PADDED, fwd_hooks=[("hook_embed", op)], padding_side="right")
    # Fine where only the row that has it is chosen.
    model.run_with_hooks(
        PADDED, fwd_hooks=[("hook_embed", ops.zero(pos=5, row=0))], padding_side="right"
    )


def test_copy_between_rows_padded_on_different_sides(model: hookwire.RemoteModel) -> None:
    ids, mask = [[1, 2, 3, 0], [0, 1, 2, 3]], [[1, 1, 1, 0], [0, 1, 1, 1]]
    with pytest.raises(hookwire.UnsupportedError, match="different sides"):
        model.run_with_hooks(
            ids, fwd_hooks=[("hook_embed", ops.copy(0, pos=[1]))], attention_mask=mask
        )


@pytest.mark.parametrize(
    ("op", "error"),
    [
        (ops.zero(row=2), hookwire.RowOutOfRangeError),
        (ops.zero(row=[0, -2]), hookwire.BadSelectionError),
        (ops.zero(row=slice(5, 9)), hookwire.BadSelectionError),
        (ops.copy(5), hookwire.RowOutOfRangeError),
        (ops.zero(pos=8), hookwire.PositionOutOfRangeError),
        (ops.zero(pos=slice(0, 9)), hookwire.PositionOutOfRangeError),
        (ops.zero(feature=4), hookwire.FeatureOutOfRangeError),
        (ops.zero(head=0), hookwire.NoHeadsError),
        (ops.set([1.0, 2.0]), hookwire.ValueShapeError),
        (ops.set(np.zeros((3, 8, 4))), hookwire.ValueShapeError),
        (ops.set(np.zeros((1, 2, 8, 4))), hookwire.ValueShapeError),
        (ops.set(float("nan")), hookwire.ValueNotFiniteError),
    ],
    ids=repr,
)
def test_what_does_not_fit(model: hookwire.RemoteModel, op: ops.Op, error: Any) -> None:
    with pytest.raises(error):
        model.run_with_hooks(TWO, fwd_hooks=[("blocks.1.hook_in", op)])


def test_non_finite_values_where_allowed(model: hookwire.RemoteModel) -> None:
    hooks = [("hook_logits", ops.set(float("inf")))]
    logits = model.run_with_hooks([LONG], fwd_hooks=hooks, allow_non_finite=True)
    assert not np.isfinite(logits).all()


def test_copy_in_a_batch_of_one(model: hookwire.RemoteModel) -> None:
    with pytest.raises(hookwire.BadSelectionError, match="no other row"):
        model.run_with_hooks([LONG], fwd_hooks=[("hook_embed", ops.copy(0))])


@pytest.mark.parametrize("where", ["hook_embed", "blocks.*.hook_in", "nothing"])
def test_names_that_the_server_refuses_in_padded_batches(
    model: hookwire.RemoteModel, where: str
) -> None:
    call = lambda: model.run_with_hooks(PADDED, fwd_hooks=[(where, ops.zero(pos=1))])  # noqa: E731
    if where == "nothing":
        with pytest.raises(hookwire.HookNotFoundError):
            call()
    else:
        call()


@pytest.mark.parametrize("hook", [("hook_embed", 3), ("hook_embed",), "hook_embed", None])
def test_what_is_no_hook(model: hookwire.RemoteModel, hook: Any) -> None:
    with pytest.raises(TypeError, match=r"function or op|hookwire\.ops"):
        model.run_with_hooks([LONG], fwd_hooks=[hook])
    with pytest.raises(TypeError, match=r"function or op|hookwire\.ops"), model.hooks([hook]):
        pass


def test_a_request_that_is_too_large_whatever_its_values(
    model: hookwire.RemoteModel, server: FakeServer
) -> None:
    name = "hook_embed" + "x" * 140
    with pytest.raises(
        hookwire.RequestTooLargeError,
        match=r"4,7\d\d,\d+ bytes.*30,000 changes.*: 4,650,000.*4,194,304",
    ) as caught:
        model.run_with_hooks([LONG], fwd_hooks=[(name, ops.zero())] * 30_000)
    assert int(caught.value.metadata["limit"]) == 4 << 20
    assert not server.specs


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([1, 2], "float32"),
        ([1.5, 2], "float32"),
        (np.arange(3), "float32"),
        (np.arange(3.0), "float64"),
        (np.arange(3, dtype=">f4"), "float32"),
        (np.arange(3, dtype=np.float16), "float16"),
        (np.arange(3).astype(ml_dtypes.bfloat16), "bfloat16"),
        (torch.arange(3), "float32"),
        (torch.arange(3, dtype=torch.bfloat16), "bfloat16"),
        (torch.ones(3, 2, requires_grad=True).T, "float32"),
    ],
    ids=repr,
)
def test_values_are_frozen_as_they_are(value: Any, dtype: str) -> None:
    frozen = ops.set(value).value
    assert isinstance(frozen, ops.Tensor)
    assert frozen.dtype == dtype
    plain = value.detach().float().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    assert np.array_equal(frozen.array().astype(np.float64), plain.astype(np.float64))


def test_numbers_stay_numbers() -> None:
    assert ops.set(2).value == 2.0
    assert ops.scale(np.float64(0.5)).factor == 0.5


@pytest.mark.parametrize(
    "value",
    [True, 1j, "1", b"1", None, [True], np.array(["a"]), [1j], torch.tensor([True]), object()],
)
def test_what_is_no_value(value: Any) -> None:
    with pytest.raises(hookwire.ValueDtypeError):
        ops.set(value)


def test_a_later_change_of_the_array_changes_nothing() -> None:
    value = np.zeros(2, np.float32)
    op = ops.set(value)
    value[:] = 1
    assert not op.value.array().any()


def test_ops_are_values() -> None:
    first, second = ops.set([1.0, 2.0], pos=[1, 2]), ops.set(np.array([1, 2]), pos=(1, 2))
    assert first == second
    assert hash(first) == hash(second)
    assert first != ops.add([1.0, 2.0], pos=[1, 2])
    assert repr(first) == "ops.set(value=<float32 [2]>, pos=[1, 2])"
    assert (
        repr(ops.copy(from_row=0, row=1, pos=range(2))) == "ops.copy(from_row=0, pos=[0, 1], row=1)"
    )
    assert repr(ops.scale(0.5, head=3)) == "ops.scale(factor=0.5, head=3)"
    assert repr(ops.zero()) == "ops.zero()"
    with pytest.raises(AttributeError):
        first.pos = None  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"pos": []}, hookwire.BadSelectionError),
        ({"pos": [1, 1]}, hookwire.BadSelectionError),
        ({"pos": slice(None, None, -1)}, hookwire.BadSelectionError),
        ({"head": 1.5}, TypeError),
        ({"row": "0"}, TypeError),
        ({"feature": True}, TypeError),
        ({"pos": np.array([0.5])}, TypeError),
        ({"pos": np.zeros((2, 2), int)}, TypeError),
    ],
)
def test_what_is_no_selection(arguments: Any, error: Any) -> None:
    with pytest.raises(error):
        ops.zero(**arguments)


def test_selections() -> None:
    assert ops.zero(pos=torch.tensor([1, 2])).pos == (1, 2)
    assert ops.zero(pos=np.array([False, True, True])).pos == (1, 2)
    assert ops.zero(pos=slice(None)).pos is None
    with pytest.raises(TypeError, match="from_row"):
        ops.copy([0, 1])
