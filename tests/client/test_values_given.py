"""Every kind of value that users have: it is sent as it is, or refused with a sentence."""

from __future__ import annotations

import datetime
import decimal
import fractions
import warnings
from typing import Any

import hookwire
import ml_dtypes
import numpy as np
import pytest
import torch
from hookwire import ops

from tests.client.fake_server import FakeServer

ROWS = [[3, 1, 4, 1, 5]]
NAME = "blocks.1.hook_in"  # [pos, 4]
NUMBERS = np.array([1.0, -2.0, 0.5, 3.0])  # exact in every type


def sent(server: FakeServer) -> np.ndarray:
    (change,) = server.specs[-1].interventions
    tensor = change.set.value.tensor
    dtype = {1: "<f4", 2: ml_dtypes.bfloat16, 3: "<f2", 4: "<f8"}[tensor.dtype]
    return np.frombuffer(tensor.data, dtype).reshape(tuple(tensor.shape))


@pytest.mark.parametrize(
    "value",
    [
        NUMBERS, NUMBERS.astype(">f8"), NUMBERS.astype(">f4"), NUMBERS.astype("<f2"),
        NUMBERS.astype(ml_dtypes.bfloat16), NUMBERS[::-1][::-1],
        np.repeat(NUMBERS, 3)[::3], np.ma.array(NUMBERS), NUMBERS.view(np.recarray),
        torch.tensor(NUMBERS), torch.tensor(NUMBERS, dtype=torch.bfloat16),
        torch.tensor(NUMBERS, dtype=torch.float16), torch.tensor(NUMBERS, requires_grad=True),
        torch.nn.Parameter(torch.tensor(NUMBERS)), torch.tensor(NUMBERS).repeat_interleave(2)[::2],
        torch.tensor(NUMBERS).flip(0).flip(0), torch._neg_view(-torch.tensor(NUMBERS)),
        torch.complex(torch.zeros(4).double(), -torch.tensor(NUMBERS)).conj().imag,
        list(NUMBERS), tuple(NUMBERS.tolist()), list(torch.tensor(NUMBERS)),
        [torch.tensor(x, dtype=torch.bfloat16) for x in NUMBERS],
        [np.float16(x) for x in NUMBERS], [1, -2.0, np.float32(0.5), torch.tensor(3.0)],
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'dtype', '')}",
)  # fmt: skip
def test_it_is_sent_as_it_is(model: hookwire.RemoteModel, server: FakeServer, value: Any) -> None:
    model.run_with_hooks(ROWS, fwd_hooks=[(NAME, ops.set(value))])
    got = sent(server)
    assert got.shape == (4,)
    assert np.array_equal(got.astype(np.float64), NUMBERS)


def test_lists_of_tensors_are_stacked(model: hookwire.RemoteModel, server: FakeServer) -> None:
    rows = [torch.full((4,), float(at), dtype=torch.bfloat16) for at in range(5)]
    for value in (rows, tuple(rows), [row.float() for row in rows], [list(row) for row in rows]):
        model.run_with_hooks(ROWS, fwd_hooks=[(NAME, ops.set(value))])
        assert np.array_equal(sent(server).astype(int), np.arange(5)[:, None].repeat(4, axis=1))


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, ">i4", torch.int32, torch.uint8])
def test_integers_become_float32(
    model: hookwire.RemoteModel, server: FakeServer, dtype: Any
) -> None:
    numbers = [1, 2, 0, 3]
    is_torch = isinstance(dtype, torch.dtype)
    value = torch.tensor(numbers, dtype=dtype) if is_torch else np.array(numbers, dtype)
    model.run_with_hooks(ROWS, fwd_hooks=[(NAME, ops.set(value))])
    assert sent(server).dtype == np.float32
    assert sent(server).tolist() == numbers


@pytest.mark.filterwarnings("ignore::RuntimeWarning:tests")
def test_numbers_of_a_list_beyond_float32_stay_what_they_are(
    model: hookwire.RemoteModel, server: FakeServer
) -> None:
    model.run_with_hooks(ROWS, fwd_hooks=[(NAME, ops.set([1e300, 1.0, 2.0, 3.0]))])
    assert sent(server).tolist() == [1e300, 1.0, 2.0, 3.0]


FLOATS = torch.tensor(NUMBERS, dtype=torch.float32)
FLOAT8 = [
    getattr(torch, name)
    for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    BETA = [
        torch.eye(4).to_sparse_csr(),
        torch.quantize_per_tensor(FLOATS, 0.5, 0, torch.qint8),
        torch.nested.nested_tensor([FLOATS, FLOATS[:2]]),
    ]


@pytest.mark.parametrize(
    "value",
    [
        *(FLOATS.to(dtype) for dtype in FLOAT8), NUMBERS.astype(ml_dtypes.float8_e4m3fn),
        NUMBERS.astype(ml_dtypes.float8_e5m2), NUMBERS.astype(ml_dtypes.float4_e2m1fn),
        NUMBERS.astype(np.complex64), FLOATS.to(torch.complex64), 1j, NUMBERS > 0, FLOATS > 0, True,
        np.bool_(True), [True, False], NUMBERS.astype(object), [object()], object(), {"a": 1},
        {1.0, 2.0}, iter([1.0]), print, float, "1.0", b"1", ["1.0"], np.array(["a"]), None, [None],
        np.array([(1.0, 2)], dtype=[("a", "f4"), ("b", "i4")]), np.array("2020", "datetime64[D]"),
        np.array([1], "timedelta64[s]"), datetime.datetime(2020, 1, 1), decimal.Decimal(1),
        fractions.Fraction(1, 2), NUMBERS.astype(np.longdouble), 10**400, [10**400],
        np.ma.array(NUMBERS, mask=[0, 1, 0, 0]), FLOATS.to_sparse(), FLOATS.to("meta"),
        *BETA, [FLOATS, FLOATS[:2]], [[1.0], [1.0, 2.0]],
        [], [[]], np.zeros((0, 4)), torch.zeros(0), torch.zeros(2, 0), [FLOATS.to_sparse()],
        [FLOATS.to(torch.float8_e4m3fn)],
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'dtype', '')}",
)  # fmt: skip
def test_it_is_refused_with_a_sentence(value: Any) -> None:
    for make in (ops.set, ops.add, ops.scale):
        with pytest.raises((hookwire.ValueDtypeError, hookwire.ValueShapeError)) as caught:
            make(value)
        said = str(caught.value)
        assert said.startswith(("value ", "factor ")), said
        assert len(said) > 30
        assert "\n" not in said


def test_a_function_may_not_return_such_a_tensor_either() -> None:
    from hookwire.facts import dtypes

    for value in (FLOATS.to_sparse(), FLOATS.to("meta"), FLOATS.to(torch.float8_e4m3fn)):
        with pytest.raises(hookwire.ArgumentTypeError, match="cannot be read"):
            dtypes.to_numpy(value)


@pytest.mark.parametrize("name", ["pos", "head", "feature", "row"])
@pytest.mark.parametrize(
    "index",
    [
        0.5, "0", None.__class__, True, [True], [0.0], np.array([0.5]), np.array([[0]]), [0, 0], [],
        slice(0, 1, 0), slice(0, 1, -1), slice(0.0, 1), range(0), np.zeros(3, bool), 2**63, [2**70],
        {0}, torch.tensor([0.5]), torch.tensor([0]).to("meta"), torch.tensor([0]).to_sparse(),
        np.ma.array([0, 1], mask=[0, 1]), [[0]], "all", {"a": 0},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_index_is_refused_with_a_sentence(name: str, index: Any) -> None:
    with pytest.raises(hookwire.HookwireError) as caught:
        ops.zero(**{name: index})
    assert name in str(caught.value) or "cannot be read" in str(caught.value)


@pytest.mark.parametrize(
    "hooks",
    [
        None, 3, "hook_embed", b"x", [None], ["hook_embed"], [("hook_embed",)],
        [("hook_embed", ops.zero(), 1)], ("hook_embed", ops.zero()), {"hook_embed": ops.zero()},
        [(None, ops.zero())], [(3, ops.zero())], [(["hook_embed", 3], ops.zero())],
        [(ops.zero(), "hook_embed")], [[]], [("", ops.zero())], [([], ops.zero())],
        [([""], ops.zero())], [(b"hook_embed", ops.zero())], [("hook_embed", None)],
    ],
    ids=repr,
)  # fmt: skip
def test_hooks_of_other_forms_are_refused(
    model: hookwire.RemoteModel, server: FakeServer, hooks: Any
) -> None:
    for call in (
        lambda: model.run_with_hooks(ROWS, fwd_hooks=hooks),
        lambda: model.run_with_cache(ROWS, fwd_hooks=hooks),
    ):
        with pytest.raises(hookwire.HookwireError) as caught:
            call()
        assert len(str(caught.value)) > 30
    assert not server.specs
