"""The work before the first tensor of a run does not grow with the number of tensors."""

from __future__ import annotations

import itertools
from typing import Any

import hookwire
import numpy as np
import pytest
from hookwire._proto import run_pb2, service_pb2
from hookwire.answer import assembly as results
from hookwire.answer import blueprint, kept, layouts
from hookwire.ask.placement import Placement
from hookwire.facts.catalogue import KEY_POSITION, POSITION
from hookwire.wire.decode import Chunk

from tests.client.fake_server import FakeServer

GROUPS, POS, WIDTH = 30, 5, 4
FEATURE = 5


class Group:
    """A group of a plan that counts how often its tensors are looked at."""

    looks = 0

    def __init__(self, group: run_pb2.TensorGroup) -> None:
        self._group = group

    def __getattr__(self, name: str) -> Any:
        return getattr(self._group, name)

    @property
    def tensors(self) -> Group:
        return self

    def __len__(self) -> int:
        return len(self._group.tensors)

    def __iter__(self) -> Any:
        Group.looks += len(self)
        return iter(self._group.tensors)

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        Group.looks += len(self)
        return self._group.SerializeToString()


class Plan:
    """A plan of `GROUPS` hook points and some rows, as the wire's message has it."""

    def __init__(self, rows: int) -> None:
        Group.looks = 0
        message = run_pb2.Plan(total_bytes=4 * GROUPS * rows * POS * WIDTH)
        for number in range(GROUPS):
            group = message.groups.add(
                source=run_pb2.TensorGroup.SOURCE_CAPTURE, hook=f"hook_{number}", dtype=1
            )
            group.axes.add(kind=POSITION, size=POS)
            group.axes.add(kind=FEATURE, size=WIDTH)
            for row in range(rows):
                group.tensors.add(sequence=row, shape=[POS, WIDTH])
        self.message = message
        self.groups = [Group(group) for group in message.groups]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.message, name)


def assembly(rows: int) -> results.Assembly:
    whole = Placement(POS, [range(POS)] * rows, whole=True)
    return results.Assembly(results.Places(rows, whole, whole, {}), {})


def chunks(group: int, rows: int) -> list[Chunk]:
    """All tensors of a group; the bytes say which."""
    data = [np.full((POS, WIDTH), group * rows + row, np.float32) for row in range(rows)]
    return [
        Chunk(group * rows + row, 0, memoryview(part.tobytes())) for row, part in enumerate(data)
    ]


@pytest.mark.parametrize("rows", [1, 7, 500])
def test_the_plan_is_taken_without_looking_at_its_tensors(rows: int) -> None:
    run, plan = assembly(rows), Plan(rows)
    run.begin(plan)  # type: ignore[arg-type]
    assert run.blueprint is not None
    assert run.blueprint.sent_bytes == {
        (1, f"hook_{number}", 0): 4 * rows * POS * WIDTH for number in range(GROUPS)
    }
    assert Group.looks == 0
    # The first tensor takes a look at the tensors of its own hook point, and at no others.
    (entry,) = run.feed(chunks(0, rows))
    assert entry.array is not None
    assert np.array_equal(entry.array[:, 0, 0], np.arange(rows))
    assert 0 < Group.looks <= 3 * rows


def joined(cuts: list[int], group: int, rows: int) -> list[Chunk]:
    """A group's tensors as the bytes of one, cut at these bytes."""
    data = memoryview(b"".join(chunk.data for chunk in chunks(group, rows)))
    ends = [0, *cuts, len(data)]
    return [Chunk(group * rows, start, data[start:end]) for start, end in itertools.pairwise(ends)]


TENSOR = 4 * POS * WIDTH


@pytest.mark.parametrize(
    "cuts", [[], [TENSOR], [4], [TENSOR + 8, 2 * TENSOR], [3 * TENSOR - 4], list(range(4, 300, 12))]
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_chunk_has_several_tensors(cuts: list[int], whole: bool) -> None:
    rows = 4
    # In a padded batch the rows have gaps between them.
    width = POS if whole else POS + 2
    along = Placement(width, [range(POS)] * rows, whole=whole)
    run, plan = results.Assembly(results.Places(rows, along, along, {}), {}), Plan(rows)
    run.begin(plan.message)
    for group in range(GROUPS):
        *others, last = joined(cuts, group, rows)
        assert run.feed(others) == []
        (entry,) = run.feed([last])
        assert entry.array is not None
        assert entry.array.shape == (rows, width, WIDTH)
        expected = np.arange(group * rows, (group + 1) * rows)[:, None, None]
        assert (entry.array[:, :POS] == expected).all()
        assert not entry.array[:, POS:].any()
    run.feed(run_pb2.Receipt(tensors=rows * GROUPS, bytes=plan.total_bytes))
    run.finish()


@pytest.mark.parametrize(
    "wrong",
    [
        # Bytes again, bytes left out, and bytes behind the last tensor.
        [(0, 0, TENSOR), (0, 0, 2 * TENSOR)],
        [(0, 0, TENSOR), (0, TENSOR + 4, TENSOR)],
        [(0, 2 * TENSOR, TENSOR + 4)],
        [(1, 0, 2 * TENSOR + 4)],
        [(2, TENSOR, 4)],
    ],
)
def test_several_tensors_that_do_not_fit(wrong: list[tuple[int, int, int]]) -> None:
    run = assembly(3)
    run.begin(Plan(3).message)
    with pytest.raises(hookwire.IncompleteResultError, match="hook_0: the server sent bytes"):
        run.feed([Chunk(at, offset, memoryview(bytes(size))) for at, offset, size in wrong])


def test_what_hook_points_have_in_common_is_worked_out_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worked_out = []
    place = layouts._place

    def counted(layout: layouts.Layout, *rest: Any) -> layouts.Destinations:
        worked_out.append(layout)
        return place(layout, *rest)

    monkeypatch.setattr(layouts, "_place", counted)
    run, plan = assembly(20), Plan(20)
    run.begin(plan)  # type: ignore[arg-type]
    for group in reversed(range(GROUPS)):
        (entry,) = run.feed(chunks(group, 20))
        assert entry.name == f"hook_{group}"
        assert np.array_equal(entry.array[:, 0, 0], group * 20 + np.arange(20))  # type: ignore[index]
    assert len(worked_out) == 1
    receipt = run_pb2.Receipt(tensors=20 * GROUPS, bytes=plan.total_bytes)
    assert run.feed(receipt) == []
    run.finish()


def test_runs_of_one_plan_share_what_was_worked_out() -> None:
    shared = kept.Kept()

    def run(rows: int, width: int = POS) -> blueprint.Blueprint:
        along = Placement(width, [range(POS)] * rows, whole=width == POS)
        places = results.Places(rows, along, along, {})
        of_one, plan = results.Assembly(places, {}, shared), Plan(rows)
        of_one.begin(plan.message)
        for group in range(GROUPS):
            (entry,) = of_one.feed(chunks(group, rows))
            assert entry.array is not None
            assert entry.array.shape == (rows, width, WIDTH)
            assert np.array_equal(entry.array[:, 0, 0], group * rows + np.arange(rows))
        of_one.feed(run_pb2.Receipt(tensors=rows * GROUPS, bytes=plan.total_bytes))
        of_one.finish()
        assert of_one.blueprint is not None
        return of_one.blueprint

    first = run(3)
    assert run(3) is first
    # The same plan, but the rows belong elsewhere; and another plan.
    padded = run(3, width=POS + 2)
    assert padded is not first
    assert run(3) is not padded
    assert run(4) is not first
    # Only the latest are kept.
    latest = run(3)
    for rows in range(4, 30):
        run(rows)
    assert run(3) is not latest


def test_the_first_tensor_comes_before_the_others_are_looked_at(
    model: hookwire.RemoteModel, server: FakeServer
) -> None:
    server.faults = {"stall"}
    with model.stream([[3, 1, 4]]) as stream:
        name, _ = next(stream)
        opened = [entry.name for entry in stream._run.assembly._opened.values()]
        assert opened == [model.hook_dict[name].name]
        assert len(model.hook_names(aliases=False)) > 10
        server.go.set()


def test_empty_tensors_come_with_the_receipt() -> None:
    # No chunk ever speaks of a tensor without bytes.
    plan = run_pb2.Plan()
    group = plan.groups.add(source=run_pb2.TensorGroup.SOURCE_CAPTURE, hook="hook_none", dtype=1)
    group.axes.add(kind=FEATURE)
    group.tensors.add(sequence=0, shape=[0])
    run = assembly(1)
    assert run.feed(service_pb2.Accepted(plan=plan)) == []
    (entry,) = run.feed(run_pb2.Receipt(tensors=1))
    assert (entry.name, entry.array.shape) == ("hook_none", (1, 0))  # type: ignore[union-attr]
    run.finish()


def test_functions_see_empty_tensors_at_once() -> None:
    plan = run_pb2.Plan()
    group = plan.groups.add(
        source=run_pb2.TensorGroup.SOURCE_CALLBACK, hook="hook_embed", dtype=1, intervention=3
    )
    group.axes.add(kind=FEATURE)
    group.tensors.add(sequence=0, shape=[0])
    (entry,) = assembly(1).feed(service_pb2.Accepted(plan=plan))
    assert (entry.name, entry.callback, entry.array.shape) == ("hook_embed", 3, (1, 0))  # type: ignore[union-attr]


KINDS = [POSITION, KEY_POSITION, FEATURE]


@pytest.mark.parametrize(
    "kinds", [k for n in (1, 2, 3) for k in itertools.product(KINDS, repeat=n)]
)
def test_tensors_lie_where_numpy_puts_them(kinds: tuple[int, ...]) -> None:
    places: list[range | list[int]] = [range(6), range(2, 6), range(3), range(4, 5), [0, 3, 5]]
    along = Placement(6, places, whole=False)
    for keys in (along, Placement(6, places[::-1], whole=False)):
        sizes = (len(places), *(3 if kind == FEATURE else 6 for kind in kinds))
        frame = layouts.Frame(kinds, sizes, 8, along, keys)
        array = np.arange(np.prod(sizes), dtype=np.int64).reshape(sizes)
        for row in range(len(places)):
            piece = array[row]
            for axis, kind in enumerate(kinds):
                if kind != FEATURE:
                    chosen = (along if kind == POSITION else keys).rows[row]
                    piece = np.take(piece, list(chosen), axis)
            flat = piece.reshape(-1)
            follows = bool((np.diff(flat) == 1).all())
            is_range = isinstance(places[row], range) and isinstance(keys.rows[row], range)
            start = frame.start(row, frame.where(row))
            assert piece.shape == frame.shape(row)
            if start < 0:
                assert not (follows and is_range)
            else:
                assert follows
                assert start == 8 * flat[0]
