"""Parameters on demand: fetched once, in rows or whole, kept on disk by digest."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hookwire
import ml_dtypes
import numpy as np
import pytest
import torch
from google.protobuf.message import DecodeError
from hookwire import aio, errors
from hookwire._proto import run_pb2, service_pb2
from hookwire._proto import tensor_pb2 as pb
from hookwire.facts import config
from hookwire.facts.dtypes import to_torch
from hookwire.weights import DiskCache, Weights, is_digest
from hookwire.wire import decode as wire
from hookwire.wire import parameters
from safetensors.numpy import load_file

from tests.client.test_daemon import TOY, daemon

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
EMBED = np.arange(60, dtype=np.float32).reshape(12, 5)


class Source:
    """A server's side of `Weights`, which counts."""

    def __init__(self, digest: str = DIGEST) -> None:
        self.digest = digest
        self.asked: list[tuple[str, tuple[int, ...] | None]] = []
        self.questions = 0
        self.arrays = {"embed.weight": EMBED, "half": EMBED.astype(ml_dtypes.bfloat16)}

    def fetch(self, name: str, rows: Sequence[int] | None) -> parameters.Fetched:
        self.asked.append((name, None if rows is None else tuple(rows)))
        if name not in self.arrays:
            raise errors.AbsentWeightError("there is none")
        array = self.arrays[name]
        return parameters.Fetched(array.copy() if rows is None else array[list(rows)], self.digest)

    def ask(self) -> str:
        self.questions += 1
        return self.digest

    def open(self, disk: Path | None = None, digest: str | None = None, **options: Any) -> Any:
        return Weights(
            self.fetch,
            self.ask,
            self.digest if digest is None else digest,
            disk=None if disk is None else DiskCache(disk),
            **{"dtype": "float32", "tensor": lambda array: array, **options},
        )


def test_a_parameter_is_fetched_once() -> None:
    source = Source()
    opened = source.open()
    assert np.array_equal(opened["embed.weight"], EMBED)
    assert opened["embed.weight"] is opened["embed.weight"]
    assert source.asked == [("embed.weight", None)]


def test_rows_travel_alone_and_once() -> None:
    source = Source()
    opened = source.open()
    assert np.array_equal(opened.rows("embed.weight", [7, 2, 7]), EMBED[[7, 2, 7]])
    assert np.array_equal(opened.rows("embed.weight", np.array([[2, 3]])), EMBED[[2, 3]])
    assert source.asked == [("embed.weight", (7, 2)), ("embed.weight", (3,))]
    whole = opened["embed.weight"]
    assert np.array_equal(opened.rows("embed.weight", [11, 0]), whole[[11, 0]])
    assert len(source.asked) == 3
    with pytest.raises(IndexError, match=r"embed\.weight"):
        opened.rows("embed.weight", [12])


def test_what_is_absent_is_asked_for_once() -> None:
    source = Source()
    opened = source.open()
    for _ in range(3):
        with pytest.raises(KeyError, match="there is none"):
            opened["blocks.0.attn.o.bias"]
    assert len(source.asked) == 1


def test_a_second_session_reads_the_disk(tmp_path: Path) -> None:
    first = Source()
    first.open(tmp_path)["embed.weight"]
    second = Source()
    opened = second.open(tmp_path)
    assert np.array_equal(opened["embed.weight"], EMBED)
    assert np.array_equal(second.open(tmp_path).rows("embed.weight", [3, 1]), EMBED[[3, 1]])
    assert second.asked == []
    # Nobody can write to it, and so to the file.
    with pytest.raises(ValueError, match="read-only"):
        opened["embed.weight"][0] = 9
    assert np.array_equal(second.open(tmp_path)["embed.weight"], EMBED)
    # Other weights, and another dtype, are other files.
    third = Source(OTHER)
    third.open(tmp_path)["embed.weight"]
    assert third.asked == [("embed.weight", None)]
    fourth = Source()
    fourth.open(tmp_path, dtype="bfloat16")["embed.weight"]
    assert fourth.asked == [("embed.weight", None)]


def test_bfloat16_survives_the_disk(tmp_path: Path) -> None:
    Source().open(tmp_path, dtype="bfloat16")["half"]
    source = Source()
    found = source.open(tmp_path, dtype="bfloat16", tensor=to_torch)["half"]
    assert source.asked == []
    assert found.dtype == torch.bfloat16
    assert np.array_equal(found.float().numpy(), EMBED)


def test_a_pending_digest_waits_for_nothing(tmp_path: Path) -> None:
    source = Source("pending")
    opened = source.open(tmp_path)
    assert np.array_equal(opened["embed.weight"], EMBED)
    assert source.questions == 1  # whether there is one by now
    assert not any(tmp_path.rglob("*.npy"))
    source.digest = DIGEST  # it has become known
    opened["half"]
    assert opened.digest == DIGEST
    assert [path.name for path in tmp_path.rglob("*.npy")] == ["half.npy"]
    questions = source.questions
    opened.rows("embed.weight", [1])
    assert opened.digest == DIGEST
    assert source.questions == questions


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "pickle", "dtype", "directory"])
def test_a_damaged_file_is_fetched_again(tmp_path: Path, damage: str) -> None:
    Source().open(tmp_path)["embed.weight"]
    (path,) = tmp_path.rglob("*.npy")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-7])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("not an array")
    elif damage == "pickle":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    elif damage == "dtype":
        np.save(path, EMBED.astype(np.float64))
    else:
        path.unlink()
        path.mkdir()
    source = Source()
    opened = source.open(tmp_path)
    if damage == "directory":
        with pytest.warns(hookwire.HookwireWarning, match="not kept on disk"):
            found = opened["embed.weight"]
    else:
        found = opened["embed.weight"]
        again = Source()
        assert np.array_equal(again.open(tmp_path)["embed.weight"], EMBED)
        assert again.asked == []
    assert np.array_equal(found, EMBED)
    assert source.asked == [("embed.weight", None)]
    assert not list(tmp_path.rglob("*.part"))


def test_a_disk_that_cannot_be_written_costs_a_warning(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    source = Source()
    opened = source.open(blocked)
    with pytest.warns(hookwire.HookwireWarning, match="not kept on disk"):
        assert np.array_equal(opened["embed.weight"], EMBED)
    opened["half"]  # said once


@pytest.mark.parametrize("digest", ["sha256:00", "../../x", "sha256:" + "../" * 22 + "abcdef"[:2]])
def test_digests_and_names_stay_in_the_directory(tmp_path: Path, digest: str) -> None:
    source = Source(digest)
    source.arrays["../../evil"] = EMBED
    source.open(tmp_path / "cache")["embed.weight"]
    Source.open(source, tmp_path / "cache", DIGEST)["../../evil"]
    assert not any(tmp_path.rglob("*"))


def test_other_weights_on_the_server_are_noticed() -> None:
    source = Source()
    opened = source.open()
    opened["embed.weight"]
    source.digest = OTHER
    with pytest.raises(errors.LoadChangedError, match=r"reconnect\(\)"):
        opened["half"]


@pytest.mark.parametrize(
    ("digest", "load_id", "fits"),
    [
        (DIGEST, "a", True),
        (DIGEST, "b", True),  # the same weights, with other settings
        (OTHER, "b", False),
        ("pending", "a", True),
        ("pending", "b", False),
        ("pending", "", True),  # of a server that names no loads
    ],
)
def test_activations_of_other_weights(digest: str, load_id: str, fits: bool) -> None:
    opened = Source().open(load_id="a")
    receipt = config.receipt(run_pb2.Receipt(weights_digest=digest))
    receipt = dataclasses.replace(receipt, load_id=load_id)
    if fits:
        opened.check_receipt(receipt)
        return
    with pytest.raises(errors.LoadChangedError, match="run the prompt again"):
        opened.check_receipt(receipt)


def test_threads_share_one_fetch() -> None:
    source = Source()
    opened = source.open()
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(opened["embed.weight"])) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(source.asked) == 1
    assert all(array is found[0] for array in found)


def messages(**changes: Any) -> list[service_pb2.GetWeightResponse]:
    """EMBED in two messages."""
    data = EMBED.tobytes()
    header = service_pb2.WeightHeader(
        name="embed.weight",
        dtype=pb.DTYPE_FLOAT32,
        shape=[12, 5],
        n_rows=12,
        bytes=len(data),
        weights_digest=DIGEST,
    )
    made = [
        service_pb2.GetWeightResponse(header=header, data=data[:100]),
        service_pb2.GetWeightResponse(offset=100, data=data[100:]),
    ]
    for key, value in changes.items():
        if key == "shape":
            made[0].header.shape[:] = value
        else:
            setattr(made[0].header if key in ("bytes", "dtype") else made[1], key, value)
    return made


def join(made: Sequence[service_pb2.GetWeightResponse]) -> parameters.Fetched:
    return parameters.join(wire.decode_weight(message.SerializeToString()) for message in made)


def test_pieces_are_joined() -> None:
    array, digest = join(messages())
    assert np.array_equal(array, EMBED)
    assert digest == DIGEST


def test_messages_of_a_later_server_are_read_too() -> None:
    for message in messages():
        encoded = message.SerializeToString()
        piece = wire.decode_weight(encoded)
        assert piece.data == message.data
        assert piece.offset == message.offset
        assert piece.header == (message.header if message.HasField("header") else None)
        later = encoded + b"\xa0\x06\x01"  # field 100
        assert wire.decode_weight(later) == piece
        with pytest.raises(DecodeError):
            wire.decode_weight(encoded[:-1])


@pytest.mark.parametrize(
    "made",
    [
        [],
        messages()[:1],
        messages()[1:],
        messages()[::-1],
        messages(offset=99),
        messages(bytes=200),
        messages(bytes=400),
        messages(shape=[12, 6]),
        messages(dtype=77),
        messages(data=b""),
    ],
)
def test_pieces_that_do_not_add_up_are_refused(made: Any) -> None:
    with pytest.raises(errors.IncompleteResultError):
        join(made)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with daemon() as address:
        yield address


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    return dict(load_file(TOY / "model.safetensors"))


def test_the_daemon_hands_out_what_the_checkpoint_holds(
    address: str, stored: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    module = "model.language_model"
    names = {
        "embed.weight": f"{module}.embed_tokens.weight",
        "unembed.weight": f"{module}.embed_tokens.weight",
        "ln_final.weight": f"{module}.norm.weight",
        "blocks.3.attn.q.weight": f"{module}.layers.3.self_attn.q_proj.weight",
        "blocks.3.ln1_post.weight": f"{module}.layers.3.post_attention_layernorm.weight",
        "blocks.3.layer_scalar": f"{module}.layers.3.layer_scalar",
        "blocks.0.mlp.out.weight": f"{module}.layers.0.mlp.down_proj.weight",
        "embed_tokens_per_layer.weight": f"{module}.embed_tokens_per_layer.weight",
    }
    with hookwire.connect(address, tensors="numpy", quiet=True) as model:
        assert "weights" in model.server.capabilities
        deadline = time.monotonic() + 60  # for the server to read its files on a busy machine
        while not is_digest(model.weights.digest) and time.monotonic() < deadline:
            time.sleep(0.05)
        for name, tensor in names.items():
            assert np.array_equal(model.weights[name], stored[tensor]), name
        rows = model.weights.rows("unembed.weight", [5, 0])
        assert np.array_equal(rows, stored[names["embed.weight"]][[5, 0]])
    with hookwire.connect(address, tensors="torch", quiet=True) as model:
        again = model.weights["blocks.3.attn.q.weight"]
        assert np.array_equal(again.numpy(), stored[names["blocks.3.attn.q.weight"]])
    files = list((tmp_path / "hookwire" / "weights").rglob("blocks.3.attn.q.weight.npy"))
    assert len(files) == 1
    assert files[0].parts[-3:-1] == (model.weights.digest[7:], "float32")


def test_no_disk_is_no_disk(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with hookwire.connect(address, quiet=True, cache_weights=False) as model:
        model.weights["embed.weight"]
    assert not any(tmp_path.iterdir())


def test_names_that_are_wrong_and_layers_that_have_none(address: str) -> None:
    with hookwire.connect(address, quiet=True, cache_weights=False) as model:
        with pytest.raises(errors.WeightNotFoundError) as caught:
            model.weights["blocks.0.attn.q.wieght"]
        assert caught.value.suggestion == "blocks.0.attn.q.weight"
        assert caught.value.field == "name"
        shared = model.cfg.n_layers - 1
        assert model.cfg.layers[shared].key_value_source is not None
        for name in ("W_K", "W_V"):
            with pytest.raises(errors.AbsentWeightError, match="reuses the keys and values"):
                getattr(model, name)[shared]
            with pytest.raises(errors.LayersDifferError, match=f"{name} cannot be one tensor"):
                getattr(model, name).stack()
        with pytest.raises(errors.AbsentWeightError, match="no bias"):
            model.b_Q[0]
        with pytest.raises(errors.WeightRowError, match="row 59 is out of range") as row:
            model.weights.rows("embed.weight", [1, 59])
        assert row.value.metadata["limit"] == "59"
        with pytest.raises(IndexError, match="layers 0 to 5"):
            model.W_Q[6]
        assert torch.equal(model.W_Q[-1], model.W_Q[5])
        assert [x.shape for x in model.W_O[1:3]] == [model.W_O[1].shape, model.W_O[2].shape]
        assert len(list(model.W_in)) == len(model.W_in) == 6


def test_a_daemon_that_keeps_its_weights() -> None:
    with (
        daemon("--serve-weights", "false") as address,
        # What another run has left on disk is no proof.
        hookwire.connect(address, quiet=True, cache_weights=False) as model,
    ):
        assert "weights" not in model.server.capabilities
        with pytest.raises(errors.WeightsNotServedError, match="--serve-weights false"):
            model.weights["embed.weight"]
        assert issubclass(errors.WeightsNotServedError, PermissionError)
        _, cache = model.run_with_cache([[2, 5, 7]])
        cache.decompose_resid()  # needs none
        with pytest.raises(errors.WeightsNotServedError):
            cache.logit_attrs(cache.decompose_resid(), 5)


async def test_the_asynchronous_model_has_them_too(address: str) -> None:
    async with await aio.connect(address, quiet=True, cache_weights=False) as model:
        assert model.W_O[0].shape == (4, 16, 64)
        _, cache = await model.run_with_cache([[2, 5, 7]])
        attributed = cache.logit_attrs(cache.decompose_resid(), 5).sum(0)
        assert torch.allclose(attributed, cache["hook_unembed"][..., 5], atol=1e-4)
    with pytest.raises(hookwire.ClosedError, match="was closed"):
        model.W_O[1]  # what they are fetched over has ended with the model
