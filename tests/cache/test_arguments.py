"""Slices, projections, NumPy; what is missing, and what cannot be."""

from __future__ import annotations

from typing import Any

import hookwire
import numpy as np
import pytest
import torch
from hookwire import errors, ops
from hookwire.cache import Slice
from transformer_lens.utilities import Slice as TheirSlice

from tests.cache.conftest import Served, relative

TOLERANCE = 1e-5


@pytest.mark.parametrize(
    "index", [None, 3, -1, (4,), (1, 5), (1, 9, 3), [2, 0], np.array([1, 4]), torch.tensor([5, 1])]
)
def test_slices_are_those_of_transformer_lens(index: Any) -> None:
    x = torch.arange(60).reshape(3, 10, 2)
    ours, theirs = Slice(index), TheirSlice(index)
    assert torch.equal(ours.apply(x, dim=1), theirs.apply(x, dim=1))
    assert np.array_equal(ours.indices(10), theirs.indices(10))
    assert ours.mode == theirs.mode
    assert torch.equal(Slice(theirs).apply(x, -2), ours.apply(x, -2))
    assert torch.equal(Slice.unwrap(index).apply(x, 1), TheirSlice.unwrap(index).apply(x, 1))


@pytest.mark.parametrize(
    "index",
    ["3", (), (1, 2, 3, 4), ("a", 2), slice(1.5), [1.5], [[1], [2, 3]], [[1, 2]], ["a"], True, {}],
)
def test_what_is_no_slice(index: Any) -> None:
    with pytest.raises(errors.ArgumentError, match="is not a slice"):
        Slice(index)


def test_slices_of_what_is_not_there() -> None:
    with pytest.raises(errors.ArgumentError, match="max_ctx"):
        Slice((1, 3)).indices()
    with pytest.raises(errors.ArgumentError, match="a step cannot be 0"):
        Slice((1, 3, 0))
    for x in (torch.zeros(2, 10), np.zeros((2, 10))):
        for index, said in (
            (10, "pos_slice=10 is outside the 10 positions"),
            (-11, "pos_slice=-11 is outside"),
            ([1, 99], r"pos_slice=\[1, 99\] is outside"),
            ([True, False], "pos_slice has 2 booleans for 10 positions"),
        ):
            with pytest.raises(errors.SliceOutOfRangeError, match=said):
                Slice(index, "pos_slice").apply(x, dim=1)
        assert Slice([]).apply(x, dim=1).shape == (2, 0)
    with pytest.raises(errors.ArgumentError, match="no step below 0"):
        Slice((None, None, -1)).apply(torch.zeros(3))
    with pytest.raises(IndexError, match="outside the 10 elements"):
        Slice([10]).indices(10)


@pytest.mark.parametrize("pos_slice", [2, -1, (1, 6), [4, 1]])
def test_positions(e_type: Served, pos_slice: Any) -> None:
    cache = e_type.cache
    direction = torch.randn(cache.cfg.d_model)
    calls: list[tuple[Any, dict[str, Any]]] = [
        (cache.decompose_resid, {}),
        (cache.decompose_resid, {"layer": 2, "apply_ln": True, "mlp_input": True}),
        (cache.stack_head_results, {"incl_remainder": True, "apply_ln": True}),
        (cache.stack_neuron_results, {"layer": 2, "apply_ln": True, "incl_remainder": True}),
        (cache.get_full_resid_decomposition, {"apply_ln": True}),
        (cache.get_full_resid_decomposition, {"expand_neurons": False, "layer": 1}),
    ]
    for call, arguments in calls:
        got = call(pos_slice=pos_slice, **arguments)
        assert torch.equal(got, Slice(pos_slice).apply(call(**arguments), dim=2)), call
    got = cache.stack_neuron_results(2, pos_slice, apply_ln=True, project_output_onto=direction)
    whole = cache.stack_neuron_results(2, apply_ln=True, project_output_onto=direction)
    assert torch.equal(got, Slice(pos_slice).apply(whole, dim=2))
    parts = cache.decompose_resid(pos_slice=pos_slice)
    got = cache.logit_attrs(parts, 5, pos_slice=pos_slice)
    whole = cache.logit_attrs(cache.decompose_resid(), 5)
    assert relative(got, Slice(pos_slice).apply(whole, dim=2)) < 1e-6


def test_projections_are_the_products(served: Served) -> None:
    cache, d_model = served.cache, served.model.cfg.d_model
    for shape in ((d_model,), (d_model, 2)):
        direction = torch.randn(*shape)
        neurons = cache.get_neuron_results(1)
        projected = cache.get_neuron_results(1, project_output_onto=direction)
        assert relative(projected, neurons @ direction) < TOLERANCE
        one = cache.get_neuron_results(1, neuron_slice=4, project_output_onto=direction)
        assert relative(one, neurons[:, :, 4] @ direction) < TOLERANCE
        for arguments in ({"apply_ln": True}, {"incl_remainder": True}, {"mlp_input": True}):
            arguments = {"layer": 2, "neuron_slice": (0, 9), **arguments}
            stack = cache.stack_neuron_results(**arguments)
            got = cache.stack_neuron_results(project_output_onto=direction, **arguments)
            assert relative(got, stack @ direction) < TOLERANCE


def test_neurons_of_layers_of_unequal_width(e_type: Served) -> None:
    widths = [layer.d_mlp for layer in e_type.model.cfg.layers]
    assert len(set(widths)) == 2
    stack, labels = e_type.cache.stack_neuron_results(-1, return_labels=True)
    assert len(stack) == len(labels) == sum(widths)
    assert labels[-1] == f"L{len(widths) - 1}N{widths[-1] - 1}"
    _, some = e_type.cache.stack_neuron_results(2, neuron_slice=3, return_labels=True)
    assert some == ["L0N3", "L1N3"]


def test_tokens_may_differ_by_row_and_by_position(served: Served) -> None:
    cache = served.cache
    parts = cache.decompose_resid()
    logits = cache["hook_unembed"]
    rows = torch.tensor([5, 9])
    want = torch.stack([logits[0, :, 5], logits[1, :, 9]])
    assert relative(cache.logit_attrs(parts, rows).sum(0), want) < TOLERANCE
    each = torch.randint(0, served.model.cfg.d_vocab, logits.shape[:2])
    want = logits.gather(-1, each[..., None])[..., 0]
    assert relative(cache.logit_attrs(parts, each).sum(0), want) < TOLERANCE
    by_position = torch.arange(logits.shape[1])
    want = logits[:, by_position, by_position]
    assert relative(cache.logit_attrs(parts, by_position).sum(0), want) < TOLERANCE
    one = cache.logit_attrs(parts, 7, batch_slice=1)
    assert relative(one.sum(0), logits[1, :, 7]) < TOLERANCE
    assert torch.equal(cache.logit_attrs(parts, "w7"), cache.logit_attrs(parts, 7))
    assert torch.equal(cache.logit_attrs(parts, [5, 9]), cache.logit_attrs(parts, rows))
    with pytest.raises(ValueError, match="same shape"):
        cache.logit_attrs(parts, 7, [1, 2])
    with pytest.raises(errors.ArgumentTypeError, match="token ids"):
        cache.logit_attrs(parts, 7.5)


def test_without_a_batch(e_type: Served) -> None:
    _, cache = e_type.model.run_with_cache(e_type.tokens[:1], remove_batch_dim=True)
    with_batch = e_type.cache.apply_slice_to_batch_dim(0)
    for made in (cache, with_batch):
        parts = made.get_full_resid_decomposition()
        assert relative(parts.sum(0), made["resid_post", -1]) < TOLERANCE
        attributed = made.logit_attrs(parts, 4, has_batch_dim=False)
        assert relative(attributed.sum(0), made["hook_unembed"][:, 4]) < TOLERANCE
        lens = made.logit_lens(positions=None)
        assert relative(lens.values[-1], made["hook_logits"]) < TOLERANCE
        assert not lens.has_batch_dim


def test_padded_batches(e_type: Served) -> None:
    checkpoint = e_type.checkpoint
    rows = [checkpoint.tokens(9, 1), checkpoint.tokens(5, 2)]
    _, cache = e_type.model.run_with_cache(rows, padding_side="left")
    parts = cache.get_full_resid_decomposition()
    assert relative(parts.sum(0), cache["resid_post", -1]) < TOLERANCE
    assert not parts[:, 1, :4].any()
    assert bool(torch.isfinite(cache.logit_attrs(parts, 4)).all())


def test_numpy_gives_the_same(served: Served) -> None:
    assert_numpy_gives_the_same(served, 1e-5)


def test_numpy_gives_the_same_in_bfloat16(bfloat16: Served) -> None:
    assert_numpy_gives_the_same(bfloat16, 0.01)


def assert_numpy_gives_the_same(served: Served, close: float) -> None:
    address = served.model.server.address
    with hookwire.connect(address, tensors="numpy", quiet=True, cache_weights=False) as model:
        _, cache = model.run_with_cache(served.tokens)
        direction = torch.randn(model.cfg.d_model, 2)
        parts = cache.decompose_resid()
        for method, arguments in (
            ("accumulated_resid", {"apply_ln": True}),
            ("decompose_resid", {"apply_ln": True, "pos_slice": -1}),
            ("stack_head_results", {"incl_remainder": True}),
            ("stack_neuron_results", {"layer": 2, "project_output_onto": direction}),
            ("get_full_resid_decomposition", {}),
            ("logit_attrs", {"residual_stack": parts, "tokens": 4, "incorrect_tokens": 5}),
        ):
            given: dict[str, Any] = dict(arguments)
            theirs = dict(arguments)
            if "project_output_onto" in given:
                given["project_output_onto"] = direction.numpy()
            if "residual_stack" in given:
                theirs["residual_stack"] = served.cache.decompose_resid()
            got = getattr(cache, method)(**given)
            want = getattr(served.cache, method)(**theirs)
            assert isinstance(got, np.ndarray)
            assert str(want.dtype) == f"torch.{got.dtype}"
            assert relative(got.astype(np.float32), want) < close, method
        ours = cache.logit_lens(top_k=3, return_type="log_probs")
        want = served.cache.logit_lens(top_k=3, return_type="log_probs")
        assert relative(ours.values.astype(np.float32), want.values) < close
        assert isinstance(model.W_O[1], np.ndarray)
        assert np.array_equal(np.asarray(model.W_E, np.float32), served.model.W_E.float().numpy())
        with pytest.raises(errors.UnsupportedError, match="no device"):
            cache.to("cpu")


def test_a_cache_names_all_that_it_lacks(served: Served) -> None:
    model, last = served.model, served.model.cfg.n_layers - 1
    lacking = f"blocks.{last}.hook_mlp_out"
    names = ["hook_embed", "blocks.*.hook_attn_out", "blocks.0.hook_mlp_out"]
    if served.model.cfg.d_per_layer_input:
        names.append("blocks.*.hook_ple_out")
    _, cache = model.run_with_cache(served.tokens, names_filter=names)
    assert len(cache.decompose_resid(1)) == 3 + bool(served.model.cfg.d_per_layer_input)
    with pytest.raises(errors.HookNotFoundError, match=lacking) as caught:
        cache.decompose_resid()
    assert "blocks.1.hook_mlp_out" in str(caught.value)
    assert "hook_embed" not in str(caught.value)
    with pytest.raises(errors.HookNotFoundError, match=r"ln_final\.hook_scale"):
        cache.apply_ln_to_stack(cache.decompose_resid(1))
    with pytest.raises(errors.HookNotFoundError, match=r"attn\.hook_z or .*hook_result"):
        cache.stack_head_results()
    with pytest.raises(errors.HookNotFoundError, match=r"blocks\.1\.mlp\.hook_post"):
        cache.get_neuron_results(1)
    with pytest.raises(errors.HookNotFoundError, match="resid_pre"):
        cache.accumulated_resid()


def test_what_the_page_says_is_enough(served: Served) -> None:
    cfg, last = served.model.cfg, served.model.cfg.n_layers - 1
    of_layers = {"blocks.*.hook_attn_out", "blocks.*.hook_mlp_out", "hook_embed"}
    of_heads = {"blocks.*.attn.hook_z", "blocks.*.ln1_post.hook_scale"}
    of_neurons = {"blocks.*.mlp.hook_post", "blocks.*.ln2_post.hook_scale"}
    of_all = {"hook_embed"}
    if cfg.d_per_layer_input:
        of_layers.add("blocks.*.hook_ple_out")
        of_all.add("blocks.*.hook_ple_out")
    if cfg.n_experts:
        of_neurons.add("blocks.*.post_feedforward_layernorm_1.hook_scale")
        of_all.add("blocks.*.post_feedforward_layernorm_2.hook_out")
    stream = {"blocks.*.hook_resid_pre", f"blocks.{last}.hook_resid_post"}
    calls: list[tuple[set[str], str, dict[str, Any]]] = [
        (stream, "accumulated_resid", {}),
        (stream, "logit_lens", {}),
        (stream | {"blocks.*.hook_resid_mid"}, "accumulated_resid", {"incl_mid": True}),
        (of_layers, "decompose_resid", {}),
        (of_layers | {"ln_final.hook_scale"}, "decompose_resid", {"apply_ln": True}),
        (of_heads, "stack_head_results", {}),
        (of_neurons, "stack_neuron_results", {"layer": -1}),
        (of_heads | of_neurons | of_all, "get_full_resid_decomposition", {}),
    ]
    for names, method, arguments in calls:
        _, cache = served.model.run_with_cache(served.tokens, names_filter=sorted(names))
        got, want = (getattr(x, method)(**arguments) for x in (cache, served.cache))
        if method == "logit_lens":
            got, want = got.values, want.values
        # Not the same bits: a run in which nobody looks at the patterns fuses its attention.
        assert relative(got, want) < TOLERANCE, method


def test_scales_are_computed_from_what_there_is(served: Served) -> None:
    names = ["blocks.*.attn.hook_z", "blocks.*.attn.hook_out", "blocks.*.hook_resid_post"]
    _, cache = served.model.run_with_cache(served.tokens, names_filter=names)
    got = cache.stack_head_results(apply_ln=True, incl_remainder=True)
    want = served.cache.stack_head_results(apply_ln=True, incl_remainder=True)
    assert relative(got, want) < TOLERANCE


def test_a_stream_that_a_hook_has_written_to_is_not_decomposed(served: Served) -> None:
    hook = ("blocks.1.hook_resid_pre", ops.add(1.0, pos=3))
    _, cache = served.model.run_with_cache(served.tokens, fwd_hooks=[hook])
    cache.decompose_resid(0)
    with pytest.raises(errors.DecompositionError, match=r"miss blocks\.1\.hook_resid_pre by"):
        cache.decompose_resid(1)
    with pytest.raises(errors.DecompositionError):
        cache.get_full_resid_decomposition()


def test_layers_that_there_are_not(e_type: Served) -> None:
    cache, n_layers = e_type.cache, e_type.model.cfg.n_layers
    for layer in (n_layers + 1, -2):
        with pytest.raises(ValueError, match=rf"layer {layer} is not in \[0, {n_layers}\]"):
            cache.decompose_resid(layer)
    for call in (cache.decompose_resid, cache.get_full_resid_decomposition):
        with pytest.raises(ValueError, match="after the last layer there is none"):
            call(mlp_input=True)


def test_nothing_has_the_right_shape(e_type: Served) -> None:
    cache = e_type.cache
    shape = (0, *cache["embed"].shape)
    assert cache.stack_head_results(0).shape == shape
    assert cache.decompose_resid(0, mode="mlp", incl_embeds=False).shape == shape
    direction = torch.randn(shape[-1], 2)
    got = cache.stack_neuron_results(0, project_output_onto=direction)
    assert got.shape == (*shape[:-1], 2)
    full, labels = cache.get_full_resid_decomposition(0, return_labels=True)
    assert labels == ["embed", "bias"]
    assert relative(full.sum(0), cache["resid_pre", 0]) < TOLERANCE


def test_lenses_that_cannot_be(e_type: Served) -> None:
    lens = e_type.cache.logit_lens
    for arguments, message in (
        ({"return_type": "odds"}, "return_type must be \"logits\", .* not 'odds'"),
        ({"top_k": 3, "targets": 4}, "targets and top_k exclude each other"),
        ({"top_k": 0}, "top_k must be at least 1, not 0"),
        ({"top_k": 10_000}, r"top_k must be in \[1, "),
        ({"targets": 10_000}, "targets has token 10000, which is outside the model's vocabulary"),
        ({"targets": -1}, "targets has -1, which is not a token id"),
        ({"vocab": []}, "vocab has no tokens"),
        ({"targets": torch.tensor([1, 2, 3])}, r"targets of shape \[3\] do not align"),
        ({"layers": [9]}, "layers has 9, and the lens has 5 entries, 0 to 4"),
        ({"layers": []}, "layers is empty"),
        ({"chunk_size": 0}, "chunk_size must be at least 1"),
        ({"positions": 99}, "positions=99 is outside the 11 positions"),
        ({"batch_slice": 2}, "batch_slice=2 is outside the 2 rows"),
    ):
        with pytest.raises(errors.HookwireError, match=message):
            lens(**arguments)
    for arguments, message in (
        ({"top_k": 1.5}, "top_k must be an int"),
        ({"targets": 7.5}, "targets must be strings that are one token, or token ids"),
        ({"layers": 3}, "layers must be a list of ints"),
        ({"chunk_size": "a"}, "chunk_size must be an int"),
        ({"lens": 3}, "lens must be a function"),
    ):
        with pytest.raises(errors.ArgumentTypeError, match=message):
            lens(**arguments)
    with pytest.raises(errors.ArgumentError, match=r"no ranks: .*logit_lens\(targets=…\)"):
        lens().rank_trajectory()
    made = lens(targets=["w5", 6])
    for target, message in (
        ("w6", r"'w6' is not one of the targets \['w5', 6\]"),
        (None, r"the targets \['w5', 6\]: name one of them"),
    ):
        with pytest.raises(errors.ArgumentError, match=message):
            made.rank_trajectory(target)
    with pytest.raises(errors.ArgumentError, match="leave target=4 out"):
        lens(targets=torch.tensor([4, 5])).rank_trajectory(4)
    with pytest.raises(errors.ArgumentError, match=r"no top tokens: .*logit_lens\(top_k=…\)"):
        made.top_tokens(e_type.model.tokenizer)
    with pytest.raises(errors.ArgumentTypeError, match=r"tokenizer must have decode\(ids\)"):
        lens(top_k=2).top_tokens(None)
    assert torch.equal(made.rank_trajectory("w5"), lens(targets=5).rank_trajectory())
    tokenizer = e_type.model.tokenizer
    top = lens(top_k=2).top_tokens(tokenizer)
    assert list(top) == made.labels
    assert all(len(row) == 2 for rows in top.values() for row in rows)


def test_what_is_not_of_this_model(e_type: Served) -> None:
    cache = e_type.cache
    assert cache.ssm_layers() == []
    for call in (
        cache.toggle_autodiff,
        cache.compute_ssm_state,
        cache.compute_ssm_effective_attention,
    ):
        with pytest.raises(errors.UnsupportedError):
            call()
    assert cache.has_embed
    assert not cache.has_pos_embed
    with pytest.raises(errors.ArgumentError, match=r"batch_slice=0 chooses rows, .* no batch"):
        cache.apply_slice_to_batch_dim(0).apply_slice_to_batch_dim(0)
    with pytest.raises(errors.SliceOutOfRangeError, match="batch_slice=2 is outside the 2 rows"):
        cache.apply_slice_to_batch_dim(2)
    with pytest.raises(errors.ArgumentError, match="a single row, and this one has 2"):
        cache.remove_batch_dim()
    with pytest.raises(errors.LayersDifferError, match="other shapes in other layers"):
        cache.stack_activation("q")
    with pytest.raises(errors.ArgumentError, match="none to stack"):
        cache.stack_activation("resid_pre", 0)
    for layer in (4, -5):
        with pytest.raises(errors.LayerOutOfRangeError, match=f"layer {layer} is not one of"):
            cache.get_neuron_results(layer)
    assert torch.equal(cache.get_neuron_results(-1), cache.get_neuron_results(3))


def test_a_remainder_at_the_first_layer_is_the_embedding(e_type: Served) -> None:
    """Of no parts, what they leave is the stream there, and not that behind the last layer."""
    cache = e_type.cache
    for made in (
        cache.stack_head_results(0, incl_remainder=True),
        cache.stack_neuron_results(0, incl_remainder=True),
    ):
        assert torch.equal(made, cache["resid_pre", 0][None])


def test_the_input_of_no_mlp(e_type: Served) -> None:
    cache = e_type.cache
    for call in (
        lambda: cache.accumulated_resid(mlp_input=True),
        lambda: cache.decompose_resid(mlp_input=True),
        lambda: cache.stack_neuron_results(-1, mlp_input=True),
    ):
        with pytest.raises(errors.ArgumentError, match="after the last layer there is none"):
            call()


def test_what_a_cache_lacks_is_said_in_short(e_type: Served) -> None:
    model = e_type.model
    _, cache = model.run_with_cache(e_type.tokens, names_filter="hook_embed")
    with pytest.raises(errors.HookNotFoundError) as caught:
        cache.decompose_resid()
    assert str(caught.value) == (
        "this needs hook points that were not captured: blocks.*.hook_attn_out, "
        "blocks.*.hook_mlp_out, blocks.*.hook_ple_out; add them to names_filter"
    )
    _, cache = model.run_with_cache(e_type.tokens, stop_at_layer=2)
    said = r"blocks\.2\.hook_resid_pre.*; the run ended before layer 2 \(stop_at_layer\)"
    with pytest.raises(errors.HookNotFoundError, match=said):
        cache.accumulated_resid()


def test_what_a_cache_is_not(e_type: Served) -> None:
    cache = e_type.cache
    for name, said in (
        ("resid_post", r"; the tensor of a layer is cache\['resid_post', layer\]$"),
        ("embed", r"; the tensor is cache\['embed'\]$"),
        ("decompose_residual", r"; did you mean 'decompose_resid'\?$"),
        ("zzz", "a cache has no attribute 'zzz'$"),
        ("_zzz", "a cache has no attribute '_zzz'$"),
    ):
        assert not hasattr(cache, name)
        with pytest.raises(errors.NoAttributeError, match=said):
            getattr(cache, name)
    with pytest.raises(errors.ArgumentTypeError, match=r"cache\.cache_dict is a dict"):
        cache["hook_embed"] = torch.zeros(1)
    with pytest.raises(errors.ArgumentTypeError, match=r"cache\['hook_embed'\] cannot be deleted"):
        del cache["hook_embed"]
    for key in (3, None, slice(3), ("q", 1, 2)):
        with pytest.raises(errors.ArgumentTypeError, match="a key is a name, such as"):
            key in cache  # noqa: B015
    for key, said in (
        ("blocks.99.hook_resid_post", "the model has layers 0 to 3"),
        (("resid_pst", 1), r"nearest: blocks\.1\.hook_resid_post, blocks\.1\."),
    ):
        with pytest.raises(errors.HookNotFoundError, match=said):
            cache[key]
    for name in (3, "blocks.0.hook_resid_pre"):
        with pytest.raises(errors.ArgumentError, match="activation_name must be a short name"):
            cache.stack_activation(name)
    with pytest.raises(errors.HookNotFoundError, match=r"^\('nope', 0\) \(blocks\.0\.hook_nope\)"):
        cache.stack_activation("nope")


def test_lenses_that_are_no_functions_of_an_entry(e_type: Served) -> None:
    lens = e_type.cache.logit_lens
    with pytest.raises(errors.ArgumentTypeError, match="a function of an entry and its index, and"):
        lens(lens=lambda entry: entry)
    for wrong, said in (
        (lambda entry, index: None, "returned None"),
        (lambda entry, index: entry[..., 1:], r"returned \[2, 47\]"),
    ):
        with pytest.raises(errors.ValueShapeError, match=f"its entry's shape.* entry 0 it {said}"):
            lens(lens=wrong)
    assert lens(lens=lambda entry, index: 2 * entry).labels[0] == "0_pre"


def test_parts_that_do_not_belong_to_the_cache(e_type: Served) -> None:
    """What has other rows, positions or another width, or is no tensor of the cache's kind."""
    cache, d_model = e_type.cache, e_type.model.cfg.d_model
    one = cache.apply_slice_to_batch_dim(slice(1))
    last = one.decompose_resid(pos_slice=-1)
    # Broadcasting would make it [part, pos, d_model], each part with the scale of every position.
    with pytest.raises(errors.ValueShapeError, match=r"rows and positions \[1, 11\]"):
        one.logit_attrs(last, 4)
    assert one.logit_attrs(last, 4, pos_slice=-1).shape == last.shape[:-1]
    stream = cache["resid_post", -1][:, -1]  # [batch, d_model], without parts
    assert cache.apply_ln_to_stack(stream, pos_slice=-1).shape == stream.shape
    parts = cache.decompose_resid()
    for wrong, message in (
        (parts[..., 1:], f"residual_stack must be .* with d_model={d_model}, not of shape"),
        (parts[:, :, :3], r"parts of shape \[\d+, 2, 3, "),
    ):
        with pytest.raises(errors.ValueShapeError, match=message):
            cache.logit_attrs(wrong, 4)
    for wrong in (parts.numpy(), parts.tolist(), "embed", None):
        with pytest.raises(errors.ArgumentTypeError, match="residual_stack must be a torch tensor"):
            cache.apply_ln_to_stack(wrong)
        with pytest.raises(errors.ArgumentTypeError, match="residual_stack must be a torch tensor"):
            cache.logit_attrs(wrong, 4)
    with pytest.raises(errors.ArgumentError, match=r"tokens of shape \[3\] do not belong to parts"):
        cache.logit_attrs(parts, [1, 2, 3])
    with pytest.raises(errors.TokenOutOfRangeError, match="tokens has token 5000, which is outs"):
        cache.logit_attrs(parts, 5000)
    with pytest.raises(errors.TokenOutOfRangeError, match="incorrect_tokens has -1"):
        cache.logit_attrs(parts, 4, -1)
    for wrong, message in (
        (torch.zeros(d_model + 1), r"project_output_onto must be .* with d_model="),
        (torch.zeros(d_model, 2, 2), r"project_output_onto must be \[d_model\] or"),
    ):
        for call in (
            lambda wrong=wrong: cache.get_neuron_results(1, project_output_onto=wrong),
            lambda wrong=wrong: cache.stack_neuron_results(1, project_output_onto=wrong),
            lambda wrong=wrong: cache.get_full_resid_decomposition(1, project_output_onto=wrong),
        ):
            with pytest.raises(errors.ValueShapeError, match=message):
                call()


def test_every_public_method_of_transformer_lens_is_there() -> None:
    import inspect

    from transformer_lens import ActivationCache as Theirs

    for name, method in inspect.getmembers(Theirs, inspect.isfunction):
        if name.startswith("_"):
            continue
        ours = getattr(hookwire.ActivationCache, name)
        want, got = inspect.signature(method).parameters, inspect.signature(ours).parameters
        if name == "logit_lens":  # takes keywords and passes them on
            from transformer_lens.tools.analysis.logit_lens import logit_lens

            passed_on = set(inspect.signature(logit_lens).parameters) - {"model", "input", "cache"}
            # The stream comes without a graph.
            assert passed_on - set(got) == {"enable_grad"}
            continue
        assert list(got) == list(want), name
        for argument, parameter in want.items():
            if argument != "mode" or name == "decompose_resid":
                assert got[argument].default == parameter.default, (name, argument)
