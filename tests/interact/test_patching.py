"""`transformer_lens.patching`, unmodified, gives over the socket what it gives in process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
from transformer_lens import patching
from transformer_lens.utilities import get_act_name

from tests.interact.conftest import Pair, assert_same

POSITIONS = 5
SAME = (
    "resid_pre", "resid_mid", "attn_out", "mlp_out", "attn_head_out_by_pos", "attn_head_q_by_pos",
    "attn_head_out_all_pos", "attn_head_q_all_pos",
)  # fmt: skip
# Where a layer has no keys or values of its own, and where heads differ from layer to layer.
MAY_RAISE = (
    "attn_head_k_by_pos", "attn_head_v_by_pos", "attn_head_k_all_pos", "attn_head_v_all_pos",
)  # fmt: skip
INERT_THERE = ("attn_head_pattern_by_pos", "attn_head_pattern_all_pos")

Result = torch.Tensor | tuple[str, str]


def metric(logits: torch.Tensor) -> torch.Tensor:
    return logits[0, -1, 5] - logits[0, -1, 9]


def prompts(pair: Pair) -> tuple[torch.Tensor, torch.Tensor]:
    return pair.tokens(3, POSITIONS), pair.tokens(4, POSITIONS)


def sweep(model: Any, pair: Pair, function: Callable[..., Any], **more: Any) -> Any:
    clean, corrupted = prompts(pair)
    _, cache = model.run_with_cache(clean)
    return function(model, corrupted, cache, metric, **more)


def outcome(model: Any, pair: Pair, function: Callable[..., Any]) -> Any:
    try:
        return sweep(model, pair, function)
    except (KeyError, IndexError) as error:
        return next(kind.__name__ for kind in (KeyError, IndexError) if isinstance(error, kind))


def named(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(patching, f"get_act_patch_{name}")
    return function


def test_every_function_is_tried_here() -> None:
    ours = {*SAME, *MAY_RAISE, *INERT_THERE, "attn_head_pattern_dest_src_pos"}
    every = {"attn_head_all_pos_every", "attn_head_by_pos_every", "block_every"}
    paths = {"direct_path", "direct_path_all_sources"}
    found = {name[14:] for name in dir(patching) if name.startswith("get_act_patch_")}
    assert found == ours | every | paths


@pytest.mark.parametrize("name", SAME)
def test_a_sweep_gives_the_same_numbers(pair: Pair, name: str) -> None:
    result = pair.same(lambda model: sweep(model, pair, named(name)))
    # Numbers that do not differ would be the same for any model. (What enters a layer whose keys
    # and values are another's matters at the last position only.)
    assert result.unique().numel() > result.numel() // 4


@pytest.mark.parametrize("name", MAY_RAISE)
def test_keys_and_values_give_the_same_or_raise_the_same(pair: Pair, name: str) -> None:
    result = pair.same(lambda model: outcome(model, pair, named(name)))
    lacking = [
        layer
        for layer in pair.remote.cfg.layers
        if layer.key_value_source is not None or ("_v_" in name and layer.key_is_value)
    ]
    assert (result == "KeyError") if lacking else isinstance(result, torch.Tensor)


def test_blocks_and_results_with_statistics(pair: Pair) -> None:
    pair.same(lambda model: sweep(model, pair, patching.get_act_patch_block_every))

    def body(model: Any) -> Any:
        clean, corrupted = prompts(pair)
        _, cache = model.run_with_cache(torch.cat([clean, clean]))
        result = patching.get_act_patch_resid_pre(
            model,
            torch.cat([corrupted, clean]),
            cache,
            {"difference": lambda logits: logits[:, -1, 5] - logits[:, -1, 9]},
            reduce="none",
            baseline=True,
        )
        return result.values, result.baseline, result.axis_names, result.effect()

    # In TransformerLens a sequence has other bits in a batch than alone; here it has not.
    here, there = body(pair.remote), body(pair.local)
    assert here[2] == there[2]
    for mine, other in zip(here, there, strict=True):
        if isinstance(mine, torch.Tensor):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_a_generic_patch_with_its_own_setter_and_indices(pair: Pair) -> None:
    def swap(activation: torch.Tensor, index: Any, clean: torch.Tensor) -> torch.Tensor:
        _, pos = index
        changed = activation.clone()
        changed[:, pos] = clean[:, pos].flip(-1)
        return changed

    indices = pd.DataFrame([(1, 2), (0, 4), (2, 4)], columns=["layer", "pos"])

    def body(model: Any) -> Any:
        clean, corrupted = prompts(pair)
        _, cache = model.run_with_cache(clean)
        return patching.generic_activation_patch(
            model, corrupted, cache, metric, swap, activation_name="mlp_out", index_df=indices
        )

    assert pair.same(body).unique().numel() == len(indices)


@pytest.mark.parametrize("name", INERT_THERE)
def test_patterns_are_inert_there_and_work_here(pair: Pair, name: str) -> None:
    there, here = (sweep(model, pair, named(name)) for model in (pair.local, pair.remote))
    assert there.unique().numel() == 1
    assert here.unique().numel() > here.numel() // 4
    # The first position sees itself only, whatever the pattern was.
    if name.endswith("by_pos"):
        assert torch.equal(here[..., 0], there[..., 0])


def test_a_pattern_patched_entry_by_entry(pair: Pair) -> None:
    """An entry is what an op changes at this place."""
    from hookwire import ops

    clean, corrupted = pair.tokens(3, 3), pair.tokens(4, 3)
    _, cache = pair.remote.run_with_cache(clean)
    here = patching.get_act_patch_attn_head_pattern_dest_src_pos(
        pair.remote, corrupted, cache, metric
    )
    last = (pair.remote.cfg.n_layers - 1, pair.remote.cfg.n_heads - 1, 1, 0)
    for layer, head, to, source in ((0, 1, 2, 1), (1, 0, 2, 2), last):
        name = get_act_name("pattern", layer)
        op = ops.set(cache[name][0, head, to, source], head=head, pos=to, feature=source)
        want = metric(pair.remote.run_with_hooks(corrupted, fwd_hooks=[(name, op)]))
        assert_same(here[layer, head, to, source], want)


def test_every_head_at_once(pair: Pair) -> None:
    """The stacked sweeps, where no layer lacks keys or values; they hold patterns, inert there."""
    functions = (
        patching.get_act_patch_attn_head_all_pos_every,
        patching.get_act_patch_attn_head_by_pos_every,
    )
    for function in functions:
        there, here = (outcome(model, pair, function) for model in (pair.local, pair.remote))
        if isinstance(there, str):
            assert here == there
        else:
            assert_same(here[:4], there[:4])


def test_a_write_to_the_router_works_here(pair: Pair) -> None:
    if not pair.remote.cfg.n_experts:
        assert "blocks.1.router.hook_out" not in pair.remote.hook_dict
        return

    def first_expert(probabilities: torch.Tensor, hook: Any) -> torch.Tensor:
        changed = torch.zeros_like(probabilities)
        changed[..., :3] = torch.tensor([0.5, 0.25, 0.25])
        return changed

    _, corrupted = prompts(pair)
    hooks = [("blocks.1.router.hook_out", first_expert)]
    plain = pair.remote(corrupted)
    _, cache = pair.remote.run_with_cache(
        corrupted, names_filter="blocks.1.router.hook_indices", fwd_hooks=hooks
    )
    assert cache["blocks.1.router.hook_indices"][0].tolist() == [[0, 1, 2]] * POSITIONS
    assert not torch.equal(pair.remote.run_with_hooks(corrupted, fwd_hooks=hooks), plain)


@pytest.mark.parametrize("kind", ["q", "k", "v"])
def test_path_patching_through_one_heads_own_input(pair: Pair, kind: str) -> None:
    """From a head of layer 0 to the queries, keys or values of a head of a later layer.

    The same by hand: what the head reads from is changed, and all else is put back.
    """
    clean, corrupted = prompts(pair)
    model = pair.remote
    # Global layers of models that share keys with values have none of their own.
    layer = next(at for at in (1, 0) if f"blocks.{at}.attn.hook_{kind}" in model.hook_dict)
    name = f"blocks.{layer}.attn.hook_{kind}"
    n_heads = model.hook_dict[name].shape[2]
    head = n_heads - 1
    _, cache = model.run_with_cache(clean)
    _, bad = model.run_with_cache(corrupted)
    with pytest.raises((ValueError, NotImplementedError)):
        pair.local.set_use_split_qkv_input(True)
    assert pair.local.cfg.use_split_qkv_input is False
    delta = cache["blocks.0.attn.hook_result"][:, :, 0] - bad["blocks.0.attn.hook_result"][:, :, 0]

    def add(inputs: torch.Tensor, hook: Any) -> torch.Tensor:
        changed = inputs.clone()
        changed[:, :, head] += delta
        return changed

    path = (f"{name}_input", add)
    got, seen = model.run_with_cache(corrupted, names_filter=name, fwd_hooks=[path])

    def whole(stream: torch.Tensor, hook: Any) -> torch.Tensor:
        return stream + delta

    _, moved = model.run_with_cache(
        corrupted, names_filter=name, fwd_hooks=[(f"blocks.{layer}.ln1.hook_in", whole)]
    )

    def only_this_head(values: torch.Tensor, hook: Any) -> torch.Tensor:
        changed = values.clone()
        changed[:, :, head] = moved[name][:, :, head]
        return changed

    want = model.run_with_hooks(corrupted, fwd_hooks=[(name, only_this_head)])
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert not torch.equal(got, model(corrupted))
    others = [at for at in range(n_heads) if at != head]
    torch.testing.assert_close(
        seen[name][:, :, others],
        bad[name][:, :, others],
        rtol=1e-5,
        atol=1e-6,
    )


def test_direct_paths_are_refused_in_both(pair: Pair) -> None:
    """What a head writes goes through a norm before it is added, so that z @ W_O is not it."""
    clean, corrupted = prompts(pair)
    for model in (pair.local, pair.remote):
        _, cache = model.run_with_cache(clean)
        for function, more in (
            (patching.get_act_patch_direct_path, {"src_layer": 0, "src_head": 0}),
            (patching.get_act_patch_direct_path_all_sources, {}),
        ):
            with pytest.raises(ValueError, match=r"normalized|there is no model\.blocks"):
                function(model, corrupted, cache, cache, metric, **more)
