"""Values that are too much for one request, be each small or large: each lands in its place."""

from __future__ import annotations

from typing import Any

import hookwire
import pytest
import torch
from hookwire import aio, ops
from hookwire._proto import run_pb2
from hookwire.ask import uploads

from tests.interact.conftest import Pair

STREAM = "blocks.1.hook_in"


def limit(pair: Pair) -> int:
    most = pair.remote.server.max_request_bytes
    assert most == 4 << 20
    return most


def test_a_value_for_each_of_1100_rows(e_type: Pair) -> None:
    """More than 4 MiB in all, of which each value has some 4 KiB."""
    model = e_type.remote
    prompt = e_type.tokens(3, -(-1024 // model.cfg.d_model)).flatten().tolist()
    rows = [prompt] * 1100
    values = torch.randn(len(rows), len(prompt), model.cfg.d_model)
    assert 4096 <= values[0].nbytes < 4400
    assert values.nbytes > limit(e_type)
    _, cache = model.run_with_cache(
        rows, names_filter=STREAM, fwd_hooks=[(STREAM, ops.set(values))], return_type=None
    )
    assert torch.equal(cache[STREAM], values)
    plan = model.plan(rows, STREAM, fwd_hooks=[(STREAM, ops.set(values))], return_type=None)
    assert plan.total_bytes == values.nbytes


@pytest.mark.parametrize("kinds", ["small", "large and small", "with functions", "padded"])
def test_each_value_lands_on_its_row(e_type: Pair, kinds: str) -> None:
    model = e_type.remote
    n_rows, length = 24, 16
    rows = [e_type.tokens(3, length).flatten().tolist()] * n_rows
    if kinds == "padded":
        rows = [row[: length - at % 2] for at, row in enumerate(rows)]
    values = torch.randn(n_rows, length, model.cfg.d_model)
    extra = torch.randn(2, n_rows, length, model.cfg.d_model)
    # A server with smaller requests, as far as this client knows.
    most = values.nbytes // 3
    hooks: list[Any] = [(STREAM, ops.set(values)), (STREAM, ops.add(extra[0], pos=slice(None)))]
    want = values + extra[0]
    if kinds == "large and small":
        alike = torch.randn(length, model.cfg.d_model)
        hooks += [(STREAM, ops.add(1.0)), (STREAM, ops.scale(alike)), (STREAM, ops.add(extra[1]))]
        want = (want + 1.0) * alike + extra[1]
    if kinds == "with functions":
        hooks.append((STREAM, lambda tensor, hook: tensor * 2))
        want = want * 2
    server = model.server
    try:
        # Users cannot set what the server says of itself.
        less = type(server)(**{**vars(server), "max_request_bytes": most})
        object.__setattr__(model, "server", less)
        _, cache = model.run_with_cache(
            rows, names_filter=STREAM, fwd_hooks=hooks, return_type=None, padding_side="right"
        )
    finally:
        object.__setattr__(model, "server", server)
    for row, tokens in enumerate(rows):
        assert torch.equal(cache[STREAM][row, : len(tokens)], want[row, : len(tokens)])


async def test_from_the_asynchronous_model(e_type: Pair) -> None:
    rows = [e_type.tokens(3, 16).flatten().tolist()] * 80
    values = torch.randn(len(rows), 16, e_type.remote.cfg.d_model)
    hooks = [(STREAM, ops.set(values))] * (1 + limit(e_type) // values.nbytes)
    async with await aio.connect(e_type.address, tensors="torch", quiet=True) as model:
        _, cache = await model.run_with_cache(
            rows, names_filter=STREAM, fwd_hooks=hooks, return_type=None
        )
        plan = await model.plan(rows, STREAM, fwd_hooks=hooks, return_type=None)
    assert torch.equal(cache[STREAM], values)
    assert plan.total_bytes == values.nbytes


def test_a_request_that_is_too_large_without_values_says_of_what(e_type: Pair) -> None:
    spec = spec_of(4096)
    for _ in range(1000):
        spec.sequences.add(token_ids=[1] * 1000)
    with pytest.raises(hookwire.RequestTooLargeError) as caught:
        uploads.take_out(spec, 1 << 18)
    size = int(caught.value.metadata["bytes"])
    assert size > 1_000_000
    for part in (f"{size:,} bytes", "1,000,003 tokens in 1,001 rows", "262,144"):
        assert part in str(caught.value)
    model = e_type.remote
    with pytest.raises(hookwire.RequestTooLargeError, match="60,000 changes"):
        model.run_with_hooks(e_type.tokens(), [(STREAM + " " * 80, ops.zero())] * 60_000)


def spec_of(*sizes: int) -> run_pb2.RunSpec:
    spec = run_pb2.RunSpec()
    spec.sequences.add(token_ids=[1, 2, 3])
    for at, size in enumerate(sizes):
        value = spec.interventions.add(hook=STREAM).set.value
        value.tensor.dtype = 1
        value.tensor.shape.extend([size // 4])
        value.tensor.data = bytes([at % 251]) * size
    return spec


@pytest.mark.parametrize(
    "sizes",
    [(4096,) * 1100, (100,) * 40_000, (4 << 20,), (8 << 20, 4, 4, 1 << 20), (65, 64, 68) * 25_000],
)
def test_what_stays_fits_exactly(sizes: tuple[int, ...]) -> None:
    most = 4 << 20
    spec = spec_of(*sizes)
    before = spec.ByteSize()
    taken = uploads.take_out(spec, most)
    assert before > most >= spec.ByteSize()
    # No more is taken out than has to be.
    assert spec.ByteSize() + max(map(len, taken)) + 64 > most - 64 * len(taken)
    order = iter(taken)
    for at, item in enumerate(spec.interventions):
        value = item.set.value
        data = next(order) if value.HasField("upload") else value.tensor.data
        assert data == bytes([at % 251]) * sizes[at]
    assert next(order, None) is None
    numbers = [
        i.set.value.upload.upload for i in spec.interventions if i.set.value.HasField("upload")
    ]
    assert numbers == list(range(len(taken)))
    joined = [b""] * len(taken)
    for message in uploads.pack(taken, 1 << 20):
        assert sum(len(piece.data) for piece in message.chunks) <= 1 << 20
        for piece in message.chunks:
            assert len(joined[piece.tensor]) == piece.offset
            joined[piece.tensor] += piece.data
    assert joined == taken


def test_what_fits_stays_whole() -> None:
    spec = spec_of(1 << 20, 1 << 20)
    exactly = spec.ByteSize() + 64
    assert uploads.take_out(spec, exactly) == []
    assert len(uploads.take_out(spec, exactly - 1)) == 1
    assert uploads.take_out(spec_of(64 << 20), 0) == []
