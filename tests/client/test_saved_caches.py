"""Caches in files, and what NumPy's own files do to bfloat16."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import hookwire
import ml_dtypes
import numpy as np
import pytest
import safetensors.torch
import torch
from hookwire import ops
from hookwire.facts.config import NonFinite

from tests.client.fake_server import FakeServer

TOKENS = [[2, 5, 7], [3, 4]]


@pytest.fixture
def cache(model: hookwire.RemoteModel) -> hookwire.ActivationCache:
    _, cache = model.run_with_cache(TOKENS)
    return cache


def same(one: hookwire.ActivationCache, other: hookwire.ActivationCache) -> None:
    assert list(one) == list(other)
    for name in one:
        assert one[name].dtype == other[name].dtype
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    np.testing.assert_array_equal(one.mask, other.mask)
    assert one.receipt == other.receipt
    assert one.has_batch_dim == other.has_batch_dim


def test_a_cache_comes_back_as_it_was(cache: hookwire.ActivationCache, tmp_path: Path) -> None:
    cache.save(tmp_path / "acts.safetensors")
    loaded = hookwire.load_cache(tmp_path / "acts.safetensors", tensors="numpy")
    same(loaded, cache)
    assert loaded["resid_pre", 1] is loaded["blocks.1.hook_in"]
    assert loaded.cfg == cache.cfg


def test_a_saved_cache_needs_no_server_for_its_names(
    server: FakeServer, cache: hookwire.ActivationCache, tmp_path: Path
) -> None:
    cache.save(str(tmp_path / "acts"))
    server.stop()
    loaded = hookwire.load_cache(str(tmp_path / "acts"), tensors="numpy")
    assert loaded["resid_pre", 1].shape == cache["resid_pre", 1].shape
    assert ("pattern", 2) in loaded
    with pytest.raises(hookwire.HookNotFoundError):
        loaded["blocks.1.hook_nothing"]


def test_a_loaded_cache_asks_the_model_that_it_is_given(
    model: hookwire.RemoteModel, cache: hookwire.ActivationCache, tmp_path: Path
) -> None:
    cache.save(tmp_path / "acts.safetensors")
    loaded = hookwire.load_cache(tmp_path / "acts.safetensors", model)
    assert loaded.model is model
    assert isinstance(loaded["embed"], np.ndarray)


def test_one_row_without_its_batch(model: hookwire.RemoteModel, tmp_path: Path) -> None:
    _, cache = model.run_with_cache([2, 5, 7], remove_batch_dim=True)
    cache.save(tmp_path / "acts.safetensors")
    same(hookwire.load_cache(tmp_path / "acts.safetensors", model), cache)


def test_torch_tensors_and_what_other_programs_read(server: FakeServer, tmp_path: Path) -> None:
    file = tmp_path / "acts.safetensors"
    with hookwire.connect(server.address, tensors="torch", quiet=True) as model:
        _, cache = model.run_with_cache(TOKENS, dtype="bfloat16")
    cache.save(file)
    loaded = hookwire.load_cache(file)
    assert loaded["resid_pre", 1].dtype == torch.bfloat16
    assert torch.equal(loaded["resid_pre", 1], cache["resid_pre", 1])
    others = safetensors.torch.load_file(file)
    assert torch.equal(others["blocks.1.hook_in"], cache["resid_pre", 1])
    assert "blocks.1.hook_resid_pre" not in others  # each tensor is there once
    assert torch.equal(others["mask"], torch.as_tensor(cache.mask))


def test_bfloat16_of_numpy_survives(model: hookwire.RemoteModel, tmp_path: Path) -> None:
    _, cache = model.run_with_cache(TOKENS, dtype="bfloat16")
    assert cache["resid_pre", 1].dtype == ml_dtypes.bfloat16
    cache.save(tmp_path / "acts.safetensors")
    same(hookwire.load_cache(tmp_path / "acts.safetensors", tensors="numpy"), cache)


def test_an_array_that_lost_its_type_in_a_file_says_how_it_gets_it_back(
    model: hookwire.RemoteModel, tmp_path: Path
) -> None:
    _, cache = model.run_with_cache(TOKENS, dtype="bfloat16")
    np.save(tmp_path / "resid.npy", cache["resid_pre", 1])
    loaded = np.load(tmp_path / "resid.npy")
    with pytest.raises(hookwire.ValueDtypeError, match=r'\.view\("bfloat16"\).*cache\.save'):
        ops.set(loaded)
    np.testing.assert_array_equal(loaded.view("bfloat16"), cache["resid_pre", 1])


def test_the_receipt_keeps_what_was_not_finite(
    cache: hookwire.ActivationCache, tmp_path: Path
) -> None:
    found = (NonFinite("blocks.1.hook_in", row=0, nan=3, inf=0),)
    cache.receipt = replace(cache.receipt, non_finite=found)
    cache.save(tmp_path / "acts.safetensors")
    loaded = hookwire.load_cache(tmp_path / "acts.safetensors", tensors="numpy")
    assert loaded.receipt == cache.receipt


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nothing.safetensors", None, "No such file"),
        ("text.safetensors", b"something else", "not a complete file of tensors"),
        ("empty.safetensors", b"", "not a complete file of tensors"),
    ],
)
def test_files_that_are_none(name: str, content: bytes | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(hookwire.FileError, match=said) as caught:
        hookwire.load_cache(tmp_path / name)
    assert name in str(caught.value)
    assert isinstance(caught.value, OSError)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(hookwire.FileError, match="Is a directory"):
        hookwire.load_cache(tmp_path)


def test_a_file_of_another_program(tmp_path: Path) -> None:
    safetensors.torch.save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(hookwire.FileError, match=r"cache\.save has not written it"):
        hookwire.load_cache(tmp_path / "other.safetensors")


def test_a_file_that_is_cut_short(cache: hookwire.ActivationCache, tmp_path: Path) -> None:
    cache.save(tmp_path / "acts.safetensors")
    content = (tmp_path / "acts.safetensors").read_bytes()
    for end in (4, 100, len(content) - 1):
        (tmp_path / "cut.safetensors").write_bytes(content[:end])
        with pytest.raises(hookwire.FileError, match="not a complete file of tensors"):
            hookwire.load_cache(tmp_path / "cut.safetensors")


def test_a_cache_of_another_version(cache: hookwire.ActivationCache, tmp_path: Path) -> None:
    safetensors.torch.save_file(
        {"mask": torch.ones(1)}, tmp_path / "new.safetensors", {"cache": "{}", "receipt": "{}"}
    )
    with pytest.raises(hookwire.FileError, match=r"not what this version's cache\.save"):
        hookwire.load_cache(tmp_path / "new.safetensors")


def test_what_cannot_be_written(cache: hookwire.ActivationCache, tmp_path: Path) -> None:
    with pytest.raises(hookwire.ArgumentError, match=r"written as \.safetensors, not \.npz"):
        cache.save(tmp_path / "acts.npz")
    with pytest.raises(hookwire.FileError, match="cannot be written"):
        cache.save(tmp_path / "nowhere" / "acts.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_whole(cache: hookwire.ActivationCache, tmp_path: Path) -> None:
    file = tmp_path / "acts.safetensors"
    file.write_bytes(b"an earlier one")
    cache.save(file)
    same(hookwire.load_cache(file, tensors="numpy"), cache)
    assert list(tmp_path.iterdir()) == [file]
