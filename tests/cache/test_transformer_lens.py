"""What TransformerLens's cache gets right, in process, is what ours gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hookwire import errors
from transformer_lens.model_bridge.generalized_components.attention import PerLayerGeometryError

from tests.cache.conftest import Served, relative

# Two implementations in float32.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def theirs(served: Served) -> Any:
    """TransformerLens's cache of the same prompts."""
    return _theirs(served)


def _theirs(served: Served) -> Any:
    with torch.no_grad():
        return served.reference.bridge.run_with_cache(served.tokens)[1]


@pytest.fixture(autouse=True)
def _no_grad() -> Any:
    with torch.no_grad():
        yield


def assert_same(ours: Any, theirs: Any) -> None:
    """Tensors, or tensors with labels."""
    if isinstance(theirs, tuple):
        assert ours[1] == theirs[1]
        ours, theirs = ours[0], theirs[0]
    assert ours.dtype == theirs.dtype
    assert relative(ours, theirs) < TOLERANCE


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"layer": 1, "incl_mid": True},
        {"layer": 2, "mlp_input": True},
        {"incl_mid": True, "pos_slice": -1},
        {"apply_ln": True},
        {"apply_ln": True, "pos_slice": (2, 7, 2)},
        {"layer": 0, "pos_slice": [3, 1]},
    ],
)
def test_accumulated_resid(served: Served, theirs: Any, arguments: dict[str, Any]) -> None:
    arguments = {"return_labels": True, **arguments}
    assert_same(served.cache.accumulated_resid(**arguments), theirs.accumulated_resid(**arguments))


@pytest.mark.parametrize("name", ["resid_pre", "attn_out", "mlp_out", "pattern"])
def test_stack_activation(served: Served, theirs: Any, name: str) -> None:
    for layer in (-1, 2):
        assert_same(
            served.cache.stack_activation(name, layer), theirs.stack_activation(name, layer)
        )
    sublayer = served.cache.stack_activation("out", sublayer_type="mlp")
    want = [theirs[f"blocks.{layer}.mlp.hook_out"] for layer in range(served.model.cfg.n_layers)]
    assert relative(sublayer, torch.stack([x.reshape(sublayer.shape[1:]) for x in want])) < 1e-5


def test_what_differs_in_shape_is_not_stacked(e_type: Served) -> None:
    with pytest.raises(ValueError, match=r"take cache\['q', layer\]"):
        e_type.cache.stack_activation("q")


def test_compute_head_results(plain: Served) -> None:
    theirs = _theirs(plain)
    theirs.compute_head_results()
    plain.cache.compute_head_results()
    for layer in range(plain.model.cfg.n_layers):
        assert_same(plain.cache["result", layer], theirs["result", layer])


def test_compute_head_results_where_layers_differ(served: Served) -> None:
    _, ours = served.model.run_with_cache(served.tokens, names_filter="blocks.*.attn.hook_z")
    assert "blocks.0.attn.hook_result" not in ours
    ours.compute_head_results()
    for layer in range(served.model.cfg.n_layers):
        # TransformerLens refuses these; it is what the server computes.
        assert relative(ours["result", layer], served.cache["result", layer]) < TOLERANCE
        summed = ours["result", layer].sum(-2)
        assert relative(summed, served.cache[f"blocks.{layer}.attn.hook_out"]) < TOLERANCE


def test_batch_methods(served: Served) -> None:
    for batch_slice in (1, (0, 1), [1, 0], None):
        ours = served.cache.apply_slice_to_batch_dim(batch_slice)
        theirs = _theirs(served).apply_slice_to_batch_dim(batch_slice)
        assert ours.has_batch_dim == theirs.has_batch_dim
        for name in ("hook_embed", "blocks.1.attn.hook_pattern"):
            assert_same(ours[name], theirs[name])
        assert ours.mask.shape == ours["hook_embed"].shape[:-1]
        whole = ours.decompose_resid()
        assert relative(whole.sum(0), ours["resid_post", -1]) < TOLERANCE


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"positions": None, "targets": 7},
        {"positions": (1, 5), "targets": ["w9", 12], "return_type": "log_probs"},
        {"top_k": 4, "incl_mid": True, "return_type": "probs"},
        {"layers": [0, -1], "vocab": [5, 9, 30], "chunk_size": 3},
        {"batch_slice": 1, "positions": [0, 3], "apply_ln": False},
        {"targets": torch.tensor([5, 6])},
        {"positions": None, "targets": torch.arange(22).reshape(2, 11), "chunk_size": 5},
        {"lens": lambda entry, index: entry * (1 + index)},
    ],
)
def test_logit_lens(served: Served, theirs: Any, arguments: dict[str, Any]) -> None:
    ours, want = served.cache.logit_lens(**arguments), theirs.logit_lens(**arguments)
    assert ours.labels == want.labels
    assert ours.has_batch_dim == want.has_batch_dim
    assert ours.target_names == want.target_names
    assert_same(ours.values, want.values)
    for name in ("entropy", "top_ids", "vocab_ids", "target_ids", "target_ranks"):
        mine, other = getattr(ours.readout, name), getattr(want.readout, name)
        assert (mine is None) == (other is None), name
        if other is not None:
            assert mine.shape == other.shape, name
            assert np.allclose(mine.double(), other.double(), rtol=1e-4, atol=1e-5), name
    if "targets" in arguments and not isinstance(arguments["targets"], list):
        assert torch.equal(ours.rank_trajectory(), want.rank_trajectory())
    frame, their_frame = ours.to_dataframe(), want.to_dataframe()
    keys = [key for key in ("layer", "batch", "pos", "token_index") if key in frame]
    column = {"log_probs": "log_prob", "probs": "probability"}.get(
        arguments.get("return_type", ""), "logit"
    )
    merged = frame.merge(their_frame, on=keys, suffixes=("", "_theirs"))
    assert len(merged) == len(frame) == len(their_frame)
    np.testing.assert_allclose(merged[column], merged[f"{column}_theirs"], rtol=1e-3, atol=1e-4)


def test_the_last_entry_of_the_lens_is_the_model_itself(served: Served) -> None:
    lens = served.cache.logit_lens(positions=None)
    assert relative(lens.values[-1], served.cache["hook_logits"]) < TOLERANCE


def test_tokens_to_residual_directions(served: Served) -> None:
    bridge = served.reference.bridge
    for tokens in (7, "w8", torch.tensor([3, 9]), torch.tensor([[3, 9], [4, 4]])):
        assert torch.equal(
            served.model.tokens_to_residual_directions(tokens),
            bridge.tokens_to_residual_directions(tokens),
        )


def test_weights(served: Served) -> None:
    model, bridge = served.model, served.reference.bridge
    for layer in range(model.cfg.n_layers):
        block = bridge.blocks[layer]
        at = model.cfg.layers[layer]
        names = ["W_Q", "W_O"]
        if at.key_value_source is None:
            names += ["W_K"] if at.key_is_value else ["W_K", "W_V"]
        for name in names:
            assert torch.equal(getattr(model, name)[layer], _split(block, name, at)), name
        for name in ("W_in", "W_out", "W_gate"):
            want = getattr(block.mlp, name)
            got = getattr(model, name)[layer]
            assert torch.equal(got, want if want.shape == got.shape else want.T), name
    assert torch.equal(model.W_E, bridge.W_E)
    assert torch.equal(model.W_U, bridge.W_U)
    assert torch.equal(model.b_U, bridge.b_U)


def test_biases(biased: Served) -> None:
    for layer, at in enumerate(biased.model.cfg.layers):
        attention = biased.reference.bridge.blocks[layer].attn
        for name in (
            ("b_Q", "b_O") if at.key_value_source is not None else ("b_Q", "b_K", "b_V", "b_O")
        ):
            assert torch.equal(getattr(biased.model, name)[layer], getattr(attention, name)), name


def _split(block: Any, name: str, at: Any) -> torch.Tensor:
    """A layer's matrix in heads: TransformerLens's, where it splits by the layer's own geometry.

    It goes by the model's, refuses most layers that have another, and splits W_K of a layer with
    fewer and wider key-value heads, whose product is the same, in the wrong places.
    """
    heads = at.n_key_value_heads if name in ("W_K", "W_V") else at.n_heads
    try:
        weight: torch.Tensor = getattr(block.attn, name)
        if weight.shape[0] == heads:
            return weight
    except PerLayerGeometryError:
        pass
    weight = getattr(block.attn, name[-1].lower()).weight
    if name == "W_O":
        return weight.T.reshape(heads, at.d_head, -1)
    return weight.reshape(heads, at.d_head, -1).transpose(-1, -2)


def test_equal_layers_are_one_tensor(plain: Served) -> None:
    model, bridge = plain.model, plain.reference.bridge
    for name in ("W_Q", "W_K", "W_V", "W_O", "W_in", "W_gate", "W_out"):
        ours, theirs = getattr(model, name), getattr(bridge, name)
        if theirs.shape != ours.shape:  # it does not turn all of the MLP's
            theirs = theirs.transpose(-1, -2)
        assert torch.equal(ours.stack(), theirs), name
        assert torch.equal(torch.einsum("l...->l", ours), torch.einsum("l...->l", theirs))
        assert np.array_equal(np.asarray(ours), theirs.numpy())
        assert torch.equal(ours @ torch.eye(theirs.shape[-1]), theirs)
    assert torch.equal(model.W_Q[1, 2], bridge.W_Q[1, 2])


def test_unequal_layers_are_not(e_type: Served) -> None:
    for name in ("W_Q", "W_O", "W_in", "W_out"):
        with pytest.raises(errors.LayersDifferError, match=rf"layer 0 has .*take {name}\[layer\]"):
            torch.einsum("l...->l", getattr(e_type.model, name))
    with pytest.raises(errors.LayersDifferError, match=r"W_K cannot be one tensor: .* reuses"):
        e_type.model.W_K.stack()


# Where TransformerLens's decomposition is right: no per-layer embeddings, layer scalars of one.
@pytest.mark.parametrize("mode", ["all", "mlp", "attn"])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"layer": 2, "mlp_input": True},
        {"layer": 1, "incl_embeds": False},
        {"pos_slice": -1},
        {"layer": 0},
    ],
)
def test_decompose_resid(plain: Served, mode: str, arguments: dict[str, Any]) -> None:
    if mode != "all" and arguments == {"layer": 0}:
        arguments = {"layer": 1}
    arguments = {"mode": mode, "return_labels": True, **arguments}
    want = _theirs(plain).decompose_resid(**arguments)
    assert_same(plain.cache.decompose_resid(**arguments), want)


def test_its_decomposition_misses_where_layers_scale(served: Served, theirs: Any) -> None:
    # What the page on the cache says; should it ever be right, this test has to go.
    missed = relative(theirs.decompose_resid().sum(0), theirs["resid_post", -1])
    assert missed > 0.1
