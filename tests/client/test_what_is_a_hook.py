"""What may be given as a hook: an op or a function. Everything else is refused before the run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

import hookwire
import numpy as np
import pytest
from hookwire import ops

from tests.client.fake_server import FakeServer

ROWS = [[3, 1, 4, 1, 5]]
NAME = "blocks.1.hook_in"


@dataclass(frozen=True, kw_only=True, repr=False)
class Clamp(ops.Op):
    """A kind of op that nobody has written down."""

    most: float = 1.0


class Silent(ops.Op):
    """A kind of op that writes nothing."""

    def write(self, wire: Any, value: Any, source: Any) -> None:
        return


class Foreign:
    """Looks like an op."""

    pos = head = feature = row = None
    value = 0.0


def no_hook_argument(tensor: Any) -> Any:
    return tensor


@pytest.mark.parametrize(
    "given",
    [
        Clamp(), ops.Op(), ops.Op(pos=1), Silent(), Foreign(), Foreign, ops.zero, ops.set, ops.add,
        ops.scale, ops.copy, ops.Zero, ops.Set, ops.Copy, ops.Op, Clamp, None, 0, 0.0, "zero", True,
        (), [ops.zero()], {"op": "zero"}, np.zeros(4, np.float32), no_hook_argument, lambda: None,
        partial(no_hook_argument, None),
    ],
    ids=lambda given: re.sub(" at 0x[0-9a-f]+", "", repr(given)),  # the same in every process
)  # fmt: skip
def test_what_is_neither_op_nor_function_is_refused(
    model: hookwire.RemoteModel, server: FakeServer, given: Any
) -> None:
    for call in (
        lambda: model.run_with_hooks(ROWS, fwd_hooks=[(NAME, given)]),
        lambda: model.run_with_cache(ROWS, fwd_hooks=[(NAME, given)]),
        lambda: model.plan(ROWS, fwd_hooks=[(NAME, given)]),
    ):
        with pytest.raises(hookwire.HookwireError) as caught:
            call()
        assert len(str(caught.value)) > 30
    if not isinstance(given, Silent):  # which only its own message gives away
        for call in (
            lambda: model.add_hook(NAME, given),
            lambda: model.hooks(fwd_hooks=[(NAME, given)]).__enter__(),
        ):
            with pytest.raises(hookwire.HookwireError):
                call()
    assert not server.specs


@pytest.mark.parametrize("given", [ops.zero(), ops.set(1.0), None, "zero", no_hook_argument])
def test_read_only_is_for_functions(given: Any) -> None:
    with pytest.raises(hookwire.HookwireError, match="function"):
        hookwire.read_only(given)


def test_each_op_says_what_it_is(model: hookwire.RemoteModel, server: FakeServer) -> None:
    class Mine(ops.Set):
        """Still sets."""

    given = {
        "set": [ops.set(2.0), ops.Set(value=2.0), Mine(value=2.0)],
        "add": [ops.add(2.0), ops.Add(value=2.0)],
        "scale": [ops.scale(2.0), ops.Scale(factor=2.0)],
        "zero": [ops.zero(), ops.Zero()],
    }
    for kind, made in given.items():
        for op in made:
            model.run_with_hooks(ROWS, fwd_hooks=[(NAME, op)])
            (sent,) = server.specs[-1].interventions
            assert sent.WhichOneof("op") == kind
            if kind != "zero":
                value = sent.scale.factor if kind == "scale" else getattr(sent, kind).value
                assert value.scalar == 2.0
    model.run_with_hooks(ROWS * 2, fwd_hooks=[(NAME, ops.Copy(from_row=-1))])
    (sent,) = server.specs[-1].interventions
    assert (sent.WhichOneof("op"), sent.copy.from_sequence) == ("copy", 1)


def test_an_op_that_is_made_by_its_class_is_checked_too() -> None:
    value = np.ones(4, np.float32)
    op = ops.Set(value=value)  # type: ignore[arg-type]
    value[:] = 7
    assert isinstance(op.value, ops.Tensor)
    assert op.value.array().tolist() == [1, 1, 1, 1]
    for make in (
        lambda: ops.Set(value="1"),
        lambda: ops.Scale(factor=None),
        lambda: ops.Copy(from_row=0.5),
    ):
        with pytest.raises(hookwire.HookwireError):
            make()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("return_type", "logit"), ("return_type", 3), ("return_type", ["logits"]),
        ("return_type", np.zeros(3)), ("missing", "ignore"), ("missing", None), ("missing", True),
        ("moment", "during"), ("moment", []), ("priority", "urgent"), ("priority", ["low"]),
        ("priority", 0), ("padding_side", "center"), ("padding_side", np.array(["left", "right"])),
        ("dtype", "float8_e4m3fn"), ("dtype", ""), ("dtype", bool), ("dtype", "complex64"),
        ("dtype", 7), ("dtype", False), ("allow_non_finite", None), ("allow_non_finite", "no"),
        ("max_result_bytes", 0), ("max_result_bytes", "1 MB"), ("timeout", "1 s"),
    ],
)  # fmt: skip
def test_a_word_that_an_argument_does_not_have_is_refused(
    model: hookwire.RemoteModel, server: FakeServer, name: str, value: Any
) -> None:
    with pytest.raises(hookwire.HookwireError, match=name):
        model.run_with_cache(ROWS, **{name: value})
    assert not server.specs


def test_a_direction_that_there_is_not_is_refused(model: hookwire.RemoteModel) -> None:
    model.add_hook(NAME, ops.zero())
    for call in (
        lambda: model.reset_hooks(direction="forward"),
        lambda: model.remove_all_hook_fns(direction="bkw"),
        lambda: model.add_hook(NAME, ops.zero(), dir="forward"),
    ):
        with pytest.raises(hookwire.HookwireError, match="dir"):
            call()
    model.reset_hooks(direction="bwd")
    assert len(model._hooks_in_force()) == 1
    model.reset_hooks(direction="fwd")
    assert not model._hooks_in_force()
