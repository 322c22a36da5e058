"""No edit of a weight changes what later calls compute with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hookwire
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.client.test_daemon import CLEAN, TOY, daemon, wait_for_digest

PLACES: list[tuple[str, Callable[[hookwire.RemoteModel], Any]]] = [
    ("W_U", lambda model: model.W_U),
    ("W_U.T", lambda model: model.W_U.T),
    ("W_U[0]", lambda model: model.W_U[0]),
    ("W_E", lambda model: model.W_E),
    ("W_Q", lambda model: model.W_Q[0]),
    ("W_Q head", lambda model: model.W_Q[0][1]),
    ("W_O", lambda model: model.W_O[-1]),
    ("W_in", lambda model: model.W_in[0]),
    ("W_out", lambda model: model.W_out[2]),
    ("ln_final", lambda model: model.weights["ln_final.weight"]),
    ("ln1_post", lambda model: model.weights["blocks.0.ln1_post.weight"]),
    ("in a list", lambda model: model.W_Q[0:2][1]),
    ("direction", lambda model: model.tokens_to_residual_directions("Mary")),
    ("rows", lambda model: model.weights.rows("unembed.weight", [3, 4])),
    ("b_U", lambda model: model.b_U),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with daemon() as address:
        yield address


@pytest.fixture(scope="module")
def kept(address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with all weights that are used here."""
    folder = tmp_path_factory.mktemp("weights")
    wait_for_digest(address)  # by which files are kept
    with hookwire.connect(address, quiet=True, cache_weights=folder) as model:
        for _, place in PLACES:
            place(model)
    assert list(folder.rglob("unembed.weight.npy"))
    return folder


def seen(cache: hookwire.ActivationCache) -> list[Any]:
    parts = cache.decompose_resid(apply_ln=True)
    made = [
        cache.logit_attrs(parts, "Mary", "John"),
        cache.logit_lens(layers=[-1]).values,
        cache.stack_head_results(),
        cache.get_neuron_results(2, neuron_slice=[0]),
    ]
    return [np.asarray(x) for x in made]


@pytest.mark.parametrize("tensors", ["numpy", "torch"])
@pytest.mark.parametrize("from_disk", [False, True])
@pytest.mark.parametrize(("name", "place"), PLACES, ids=[name for name, _ in PLACES])
def test_an_edit_stays_where_it_was_made(
    address: str,
    kept: Path,
    tensors: Any,
    from_disk: bool,
    name: str,
    place: Callable[[hookwire.RemoteModel], Any],
) -> None:
    where = kept if from_disk else False
    with hookwire.connect(address, tensors=tensors, quiet=True, cache_weights=where) as model:
        _, cache = model.run_with_cache(CLEAN)
        before = seen(cache)
        weight, was = place(model), np.asarray(place(model)).copy()
        try:
            weight[...] = 7
        except ValueError as error:
            assert tensors == "numpy" and "read-only" in str(error)  # noqa: PT017, PT018
        assert np.array_equal(place(model), was)
        for one, other in zip(before, seen(cache), strict=True):
            assert np.array_equal(one, other)
        theirs = load_file(TOY / "model.safetensors")
        embed = next(x for key, x in theirs.items() if key.endswith("embed_tokens.weight"))
        assert np.array_equal(model.W_U, embed.T)
        assert np.array_equal(model.W_E, embed)


def test_views_of_an_array_are_read_only(address: str, kept: Path) -> None:
    for where in (kept, False):
        with hookwire.connect(address, tensors="numpy", quiet=True, cache_weights=where) as model:
            assert not model.W_U.flags.writeable
            assert not model.W_U.T[1:].flags.writeable
            with pytest.raises(ValueError, match="read-only"):
                model.W_E += 1
            with pytest.raises(ValueError, match="read-only"):
                model.W_Q[0][...] *= 2


def test_a_torch_tensor_is_the_callers_own(address: str) -> None:
    with hookwire.connect(address, tensors="torch", quiet=True) as model:
        mine = model.W_U
        mine.zero_()
        mine.requires_grad_()
        assert model.W_U.abs().sum() > 0
        assert not model.W_U.requires_grad
        assert torch.equal(mine, torch.zeros_like(mine))
