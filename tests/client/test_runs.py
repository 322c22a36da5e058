"""What runs return, over a server that keeps the contract."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from typing import Any

import hookwire
import ml_dtypes
import numpy as np
import pytest
import torch
from hookwire import ops
from transformer_lens.utilities.lm_utils import lm_cross_entropy_loss

from tests.client import fake_model
from tests.client.fake_server import FakeServer

LONG, SHORT = [3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5]
BATCHES: dict[str, tuple[Any, dict[str, Any]]] = {
    "one row": ([LONG], {}),
    "equal rows": ([LONG, LONG[::-1]], {}),
    "padded right": ([LONG, SHORT], {"padding_side": "right"}),
    "padded left": ([LONG, SHORT], {"padding_side": "left"}),
    "mask": (
        np.array([[*SHORT, 0, 0], [0, 0, *SHORT], [1, 2, 3, 4, 5]]),
        {"attention_mask": np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])},
    ),
}


def rows_of(name: str) -> tuple[list[list[int]], list[int], int]:
    """The rows, where each begins, and the padded width."""
    value, options = BATCHES[name]
    if "attention_mask" in options:
        return [SHORT, SHORT, [1, 2, 3, 4, 5]], [0, 2, 0], 5
    width = max(map(len, value))
    left = options.get("padding_side") == "left"
    return value, [width - len(row) if left else 0 for row in value], width


def expected(name: str, hook: str, stop_at_layer: int | None = None) -> np.ndarray:
    """A hook point of each row alone, put in place with zeros around it."""
    rows, starts, width = rows_of(name)
    axes = fake_model.BY_NAME[hook].axes if hook in fake_model.BY_NAME else fake_model.LOGITS
    if stop_at_layer is not None and hook == "output":
        axes = fake_model.STREAM
    canonical = fake_model.BY_NAME[hook].name if hook in fake_model.BY_NAME else hook
    result = None
    for number, (row, start) in enumerate(zip(rows, starts, strict=True)):
        tensor = fake_model.alone(row, stop_at_layer)[canonical]
        if result is None:
            sizes = [size or width for _, _, size in axes]
            result = np.zeros([len(rows), *sizes], tensor.dtype)
        place = tuple(
            slice(None) if size else slice(start, start + len(row)) for _, _, size in axes
        )
        result[(number, *place)] = tensor
    return result


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("interleave", [False, True])
def test_everything_equals_each_row_alone(
    model: hookwire.RemoteModel, server: FakeServer, name: str, interleave: bool
) -> None:
    value, options = BATCHES[name]
    if interleave:
        server.faults = {"interleave"}
        server.chunk_bytes = 12
    logits, cache = model.run_with_cache(value, **options)
    assert list(cache) == list(fake_model.BY_NAME)
    for hook, tensor in cache.items():
        want = expected(name, hook)
        assert tensor.dtype == want.dtype
        assert np.array_equal(tensor, want), hook
    assert np.array_equal(logits, expected(name, "output"))
    rows, starts, _ = rows_of(name)
    for mask, row, start in zip(cache.mask, rows, starts, strict=True):
        assert np.flatnonzero(mask).tolist() == list(range(start, start + len(row)))
    assert cache.receipt is model.last_receipt


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize(
    "pos_slice",
    [
        -1,
        0,
        2,
        [0, 2],
        [-1, 0],
        slice(1, None),
        (2,),
        (1, 3),
        (0, 5, 2),
        np.array([1]),
        slice(0, 100),
    ],
)
def test_pos_slice_cuts_the_padded_rows(
    model: hookwire.RemoteModel, name: str, pos_slice: Any
) -> None:
    value, options = BATCHES[name]
    _, cache = model.run_with_cache(value, pos_slice=pos_slice, return_type=None, **options)
    index: Any = [pos_slice] if isinstance(pos_slice, int) else pos_slice
    index = slice(*index) if isinstance(index, tuple) else index
    for hook, tensor in cache.items():
        want = expected(name, hook)
        axis = 1 + [size for _, _, size in fake_model.BY_NAME[hook].axes].index(0)
        want = want[(slice(None),) * axis + (index,)]
        assert tensor.shape == want.shape
        assert np.array_equal(tensor, want), hook
    _, starts, width = rows_of(name)
    assert cache.mask.shape == (len(starts), np.arange(width)[index].size)


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("stop", [0, 1, 3, -1, -3])
def test_stop_at_layer(model: hookwire.RemoteModel, name: str, stop: int) -> None:
    value, options = BATCHES[name]
    residual, cache = model.run_with_cache(value, stop_at_layer=stop, **options)
    counted = stop % fake_model.N_LAYERS if stop < 0 else stop
    assert np.array_equal(residual, expected(name, "output", counted))
    assert "hook_embed" in cache
    assert "hook_logits" not in cache
    layers = {int(hook.split(".")[1]) for hook in cache if hook.startswith("blocks.")}
    assert layers == set(range(counted))
    assert np.array_equal(model(value, stop_at_layer=stop, **options), residual)


def test_a_stream_has_the_residual_only_where_it_is_asked_for(
    model: hookwire.RemoteModel, server: FakeServer
) -> None:
    wanted: Any = {"names_filter": "blocks.0.hook_in", "stop_at_layer": 1}
    assert [name for name, _ in model.stream([LONG], **wanted)] == ["blocks.0.hook_in"]
    assert not server.specs[-1].outputs.residual
    streamed = dict(iter(model.stream([LONG], **wanted, return_type="logits")))
    assert list(streamed) == ["blocks.0.hook_in", "residual"]
    assert np.array_equal(streamed["residual"], model([LONG], stop_at_layer=1))
    # A plan is that of the run that returns it.
    plan = model.plan([LONG], **wanted, return_type=None)
    assert [tensor.name for tensor in plan.tensors] == ["blocks.0.hook_in", "residual"]


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("pos", [-1, 0, [0, -1], [1]])
def test_logits_pos_counts_each_rows_own_tokens(
    model: hookwire.RemoteModel, name: str, pos: int | list[int]
) -> None:
    value, options = BATCHES[name]
    logits = model(value, logits_pos=pos, **options)
    index = [pos] if isinstance(pos, int) else pos
    want = [fake_model.alone(row)["output"][index] for row in rows_of(name)[0]]
    assert np.array_equal(logits, np.stack(want))


@pytest.mark.parametrize("name", BATCHES)
def test_loss_is_transformer_lens_loss(model: hookwire.RemoteModel, name: str) -> None:
    value, options = BATCHES[name]
    rows, starts, width = rows_of(name)
    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for number, (row, start) in enumerate(zip(rows, starts, strict=True)):
        tokens[number, start : start + len(row)] = torch.tensor(row)
        mask[number, start : start + len(row)] = True
    logits = torch.from_numpy(expected(name, "output"))
    per_token = lm_cross_entropy_loss(logits, tokens, mask, per_token=True).numpy()
    mean = lm_cross_entropy_loss(logits, tokens, mask).numpy()
    np.testing.assert_allclose(
        model(value, return_type="loss", loss_per_token=True, **options),
        per_token,
        rtol=1e-5,
        atol=1e-6,
    )
    both = model(value, return_type="both", **options)
    assert np.array_equal(both[0], logits.numpy())
    np.testing.assert_allclose(both[1], mean, rtol=1e-5)
    assert np.ndim(both[1]) == 0


@pytest.mark.parametrize("name", BATCHES)
def test_log_probs(model: hookwire.RemoteModel, name: str) -> None:
    value, options = BATCHES[name]
    rows, _, width = rows_of(name)
    tables = [
        torch.from_numpy(fake_model.alone(row)["output"]).log_softmax(-1).numpy() for row in rows
    ]
    got = model.log_probs(value, targets=[7, 8], **options)
    np.testing.assert_allclose(got, [table[-1, [7, 8]] for table in tables], rtol=1e-5)
    got = model.log_probs(value, targets=[7, 8], pos=[0, 1], **options)
    np.testing.assert_allclose(got, [table[[0, 1], [7, 8]] for table in tables], rtol=1e-5)
    each = [[number] for number in range(len(rows))]
    got = model.log_probs(value, targets=each, **options)
    np.testing.assert_allclose(
        got, [table[-1, t] for table, t in zip(tables, each, strict=True)], rtol=1e-5
    )
    following = model.log_probs(value, **options)
    assert following.shape == (len(rows), width - 1)
    assert np.array_equal(
        following, -model(value, return_type="loss", loss_per_token=True, **options)
    )


def test_log_probs_of_words(model: hookwire.RemoteModel) -> None:
    ids = [model.to_single_token(word) for word in ("Mary", "John")]
    by_word = model.log_probs("When Mary and", ["Mary", "John"])
    assert np.array_equal(by_word, model.log_probs("When Mary and", ids))
    assert model.log_probs("When Mary and", "Mary").shape == (1, 1)
    assert model.log_probs("When Mary and", torch.tensor(ids)).shape == (1, 2)
    with pytest.raises(hookwire.NotASingleTokenError):
        model.log_probs("When Mary and", "Mary John")
    with pytest.raises(hookwire.PositionOutOfRangeError):
        model.log_probs("When Mary and", "Mary", pos=10)
    with pytest.raises(ValueError, match="targets"):
        model.log_probs("When Mary and", [[1], [2]])


NOTHING = ("", [""], [5], [[5]], ["", ""], [[5], [6]], np.array([[5]]))


@pytest.mark.parametrize("value", NOTHING, ids=repr)
def test_without_a_next_token_there_is_no_loss(model: hookwire.RemoteModel, value: Any) -> None:
    for options in ({"return_type": "loss"}, {"return_type": "both"}):
        for per_token in (False, True):
            with pytest.raises(hookwire.NothingToPredictError, match="a single token"):
                model(value, loss_per_token=per_token, **options)
            with pytest.raises(hookwire.NothingToPredictError):
                model.run_with_hooks(value, loss_per_token=per_token, **options)
            with pytest.raises(hookwire.NothingToPredictError):
                model.run_with_cache(value, loss_per_token=per_token, **options)
    with pytest.raises(hookwire.NothingToPredictError, match="log_probs is that of each next"):
        model.log_probs(value)
    with pytest.raises(hookwire.NothingToPredictError):
        model.stream(value, return_type="loss")
    rows = 1 if isinstance(value, str) or not np.ndim(value[0]) else len(value)
    if not isinstance(value, list) or not isinstance(value[0], str):
        assert model.log_probs(value, 7).shape == (rows, 1)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_row_without_a_next_token_is_named_and_adds_nothing(
    model: hookwire.RemoteModel, side: str
) -> None:
    rows = [[5, 6, 7], [8], [9, 4]]
    losses = {}
    for number in (0, 2):
        losses[number] = model(rows[number], return_type="loss", loss_per_token=True)[0]
    with pytest.warns(hookwire.NothingToPredictWarning, match="row 1 of the input") as caught:
        mean = model(rows, return_type="loss", padding_side=side)
    assert len(caught) == 1
    # TransformerLens's mean over all tokens that are no padding.
    np.testing.assert_allclose(mean, np.concatenate(list(losses.values())).mean(), rtol=1e-6)
    with pytest.warns(hookwire.NothingToPredictWarning):
        each = model(rows, return_type="loss", loss_per_token=True, padding_side=side)
    assert each[1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("names_filter", "names"),
    [
        ("blocks.1.hook_in", ["blocks.1.hook_in"]),
        ("blocks.1.hook_resid_pre", ["blocks.1.hook_in", "blocks.1.hook_resid_pre"]),
        ("blocks.*.hook_resid_pre", [f"blocks.{i}.hook_resid_pre" for i in range(3)]),
        (
            ["hook_embed", "blocks.1.attn.*"],
            ["embed.hook_out", "hook_embed", "blocks.1.attn.hook_q", "blocks.1.attn.hook_pattern"],
        ),
        (
            lambda name: name.endswith("resid_post"),
            [f"blocks.{i}.hook_resid_post" for i in range(3)],
        ),
        (lambda name: "1.hook_in" in name, ["blocks.1.hook_in"]),
        ([], []),
    ],
)
def test_names_filters(model: hookwire.RemoteModel, names_filter: Any, names: list[str]) -> None:
    _, cache = model.run_with_cache([LONG], names_filter=names_filter, return_type=None)
    assert list(cache) == names
    for name in names:
        assert np.array_equal(cache[name], expected("one row", name))


@pytest.mark.parametrize(
    ("names_filter", "names"),
    [
        ("blocks.*.hook_resid_pre", ["blocks.0.hook_resid_pre"]),
        (
            lambda name: "hook_pattern" in name or name == "hook_logits",
            ["blocks.0.attn.hook_pattern"],
        ),
        (
            ["blocks.*.hook_in", "blocks.0.hook_resid_pre"],
            ["blocks.0.hook_in", "blocks.0.hook_resid_pre"],
        ),
    ],
)
def test_filters_end_where_the_pass_ends(
    model: hookwire.RemoteModel, names_filter: Any, names: list[str]
) -> None:
    _, cache = model.run_with_cache([LONG], names_filter=names_filter, stop_at_layer=1)
    assert list(cache) == names


@pytest.mark.parametrize(
    ("names_filter", "error"),
    [
        ("blocks.1.hook_resid_preposterous", hookwire.HookNotFoundError),
        ("blocks.2.attn.hook_k", hookwire.AbsentHookError),
        ("blocks.*.nothing", hookwire.GlobNoMatchError),
        (lambda name: False, hookwire.GlobNoMatchError),
        (3, TypeError),
        ([3], TypeError),
    ],
)
def test_filters_that_match_nothing(
    model: hookwire.RemoteModel, names_filter: Any, error: Any
) -> None:
    with pytest.raises(error):
        model.run_with_cache([LONG], names_filter=names_filter)


@pytest.mark.parametrize(
    "names_filter", ["blocks.2.*", "blocks.2.hook_in", lambda name: "s.2." in name]
)
def test_filters_behind_the_end(model: hookwire.RemoteModel, names_filter: Any) -> None:
    with pytest.raises(hookwire.NeverFiresError):
        model.run_with_cache([LONG], names_filter=names_filter, stop_at_layer=1)


def test_missing_names_can_be_skipped(model: hookwire.RemoteModel) -> None:
    wanted = ["hook_embed", "blocks.2.attn.hook_k"]
    with pytest.warns(hookwire.SkippedWarning, match=r"left out blocks\.2\.attn\.hook_k") as caught:
        _, cache = model.run_with_cache([LONG], names_filter=wanted, missing="skip")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert list(cache) == ["embed.hook_out", "hook_embed"]
    assert model.plan([LONG], wanted, missing="skip").skipped == ("blocks.2.attn.hook_k",)


def test_before_and_after_the_ops(model: hookwire.RemoteModel) -> None:
    options: Any = {"names_filter": "hook_embed", "fwd_hooks": [("hook_embed", ops.zero())]}
    _, after = model.run_with_cache([LONG], **options)
    _, before = model.run_with_cache([LONG], moment="before", **options)
    assert not after["embed"].any()
    assert np.array_equal(before["embed"], expected("one row", "hook_embed"))


def test_aliases_share_one_tensor(model: hookwire.RemoteModel) -> None:
    _, cache = model.run_with_cache([LONG], names_filter="hook_embed")
    assert cache["hook_embed"] is cache["embed.hook_out"]


def test_remove_batch_dim(model: hookwire.RemoteModel) -> None:
    logits, cache = model.run_with_cache([LONG], remove_batch_dim=True)
    assert logits.shape[0] == 1  # as in TransformerLens
    assert cache["blocks.0.hook_in"].shape == (len(LONG), fake_model.D_MODEL)
    assert cache.mask.shape == (len(LONG),)
    with pytest.raises(ValueError, match="2"):
        model.run_with_cache([LONG, SHORT], remove_batch_dim=True)
    _, cache = model.run_with_cache([LONG])
    for wrong, shown in ((2, "2"), ("x", "'x'")):
        with pytest.raises(hookwire.ArgumentError, match=f"batch_size={shown} is not that of this"):
            cache.remove_batch_dim(wrong)  # type: ignore[arg-type]
    assert cache.remove_batch_dim(1)["blocks.0.hook_in"].ndim == 2


def test_a_plain_dict(model: hookwire.RemoteModel) -> None:
    _, cache = model.run_with_cache([LONG], return_cache_object=False)
    assert type(cache) is dict


def test_wire_dtype(model: hookwire.RemoteModel) -> None:
    for dtype in ("float16", np.float16, torch.float16):
        _, cache = model.run_with_cache([LONG], names_filter="hook_embed", dtype=dtype)
        assert cache["hook_embed"].dtype == np.float16
    with pytest.raises(TypeError, match="int7"):
        model.run_with_cache([LONG], dtype="int7")


def test_tensors_as_numpy_or_torch(server: FakeServer) -> None:
    for tensors, kind in (("numpy", np.ndarray), ("torch", torch.Tensor), ("auto", torch.Tensor)):
        with hookwire.connect(server.address, tensors=tensors, quiet=True) as model:
            logits, cache = model.run_with_cache([LONG, SHORT], dtype="bfloat16")
            assert type(logits) is kind
            assert type(cache.mask) is kind
            assert type(model.to_tokens("a")) is kind
            embed = cache["hook_embed"]
            want = expected("padded right", "hook_embed").astype(ml_dtypes.bfloat16)
            if kind is torch.Tensor:
                assert embed.dtype == torch.bfloat16
                embed = embed.float().numpy()
            else:
                assert embed.dtype == ml_dtypes.bfloat16
            assert np.array_equal(np.asarray(embed, np.float32), want.astype(np.float32))
            embed[0, 0, 0] = 1  # the memory belongs to the user
            loss = model([LONG], return_type="loss")
            assert type(loss) in (kind, np.ndarray)
    with pytest.raises(ValueError, match="tensors"):
        hookwire.connect(server.address, tensors="jax", quiet=True)


def test_plan_equals_the_run(model: hookwire.RemoteModel, server: FakeServer) -> None:
    plan = model.plan([LONG, SHORT], "blocks.*.attn.*", fwd_hooks=[("hook_embed", ops.zero(row=1))])
    assert "run" not in server.calls
    logits, cache = model.run_with_cache([LONG, SHORT], names_filter="blocks.*.attn.*")
    planned = {name: tensor.shape for tensor in plan.tensors for name in tensor.names}
    assert planned == {"logits": logits.shape, **{name: t.shape for name, t in cache.items()}}
    assert plan.tensors[-1].name == "logits"
    assert plan.tensors[-1].shape == logits.shape
    assert plan.total_bytes == model.last_receipt.bytes == sum(t.bytes for t in plan.tensors)
    assert plan.total_tokens == len(LONG) + len(SHORT)
    assert plan.intervened_hooks == ("embed.hook_out",)
    assert "changed: embed.hook_out" in str(plan)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"return_type": "predictions"}, "return_type"),
        ({"return_type": "loss", "stop_at_layer": 1}, "whole pass"),
        ({"return_type": None, "logits_pos": 1}, "logits_pos"),
        ({"stop_at_layer": 1, "logits_pos": 1}, "logits_pos"),
        ({"missing": "maybe"}, "missing"),
        ({"moment": "now"}, "moment"),
    ],
)
def test_arguments_that_contradict(
    model: hookwire.RemoteModel, arguments: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model.run_with_cache([LONG], **arguments)


@pytest.mark.parametrize("arguments", [{"incl_bwd": True}])
def test_what_transformer_lens_has_and_this_has_not(
    model: hookwire.RemoteModel, arguments: Any
) -> None:
    with pytest.raises(hookwire.UnsupportedError, match=next(iter(arguments))):
        model.run_with_cache([LONG], **arguments)


def test_non_finite_values_draw_a_warning(model: hookwire.RemoteModel, server: FakeServer) -> None:
    from hookwire._proto import run_pb2

    server.non_finite = [run_pb2.NonFinite(hook="blocks.1.hook_out", sequence=0, nan=5, inf=2)]
    with pytest.warns(
        hookwire.NonFiniteWarning, match=r"blocks\.1\.hook_out row 0 \(5 NaN, 2 inf"
    ) as caught:
        model([LONG])
    assert caught[0].filename == __file__
    assert model.last_receipt.non_finite[0].hook == "blocks.1.hook_out"
    for names, shown in (
        ("blocks.1.hook_resid_post", "blocks.1.hook_resid_post"),
        (["hook_embed", ("resid_post", 1)], "blocks.1.hook_resid_post"),
        ("blocks.*.hook_resid_post", "blocks.1.hook_resid_post"),
        ("blocks.1.hook_out", "blocks.1.hook_out"),
        (None, "blocks.1.hook_out"),
    ):
        with pytest.warns(hookwire.NonFiniteWarning, match=f"{shown} row 0") as caught:
            model.run_with_cache([LONG], names_filter=names)
        assert len(caught) == 1


def test_large_results_warn_before_they_start(
    model: hookwire.RemoteModel, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hookwire.answer.plan.WARN_BYTES", 1000)
    stream = model.stream([LONG], ["hook_logits", "hook_embed"])
    server.faults = {"stall"}
    with pytest.warns(hookwire.ResultSizeWarning, match=r"hook_logits \(1.0 KiB\), embed.hook_out"):
        next(stream)
    stream.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.run_with_cache([LONG], names_filter="hook_embed", return_type=None)


def test_progress_bar(model: hookwire.RemoteModel, capsys: pytest.CaptureFixture[str]) -> None:
    model([LONG], progress=True)
    assert "1.00k/1.00k" in capsys.readouterr().err
    model([LONG])
    assert not capsys.readouterr().err


def test_progress_that_is_asked_for_is_shown_whatever_the_environment_says() -> None:
    # tqdm reads the environment when it is imported.
    code = """
from hookwire.answer.progress import Progress
bar = Progress(True)
bar.begin(1024)
bar.update(1024)
bar.close()
"""
    shown = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TQDM_DISABLE": "1"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert "1.00k/1.00k" in shown.stderr


def test_run_with_hooks_inside_hooks(model: hookwire.RemoteModel, server: FakeServer) -> None:
    first, second = ("hook_embed", ops.zero()), ("blocks.0.hook_in", ops.add(1.0))
    with model.hooks(fwd_hooks=[first]) as same:
        assert same is model
        with model.hooks(fwd_hooks=[("ln_final.hook_out", ops.scale(2))]):
            model.run_with_hooks([LONG], fwd_hooks=[second])
            hooks = [item.hook for item in server.specs[-1].interventions]
            assert hooks == ["hook_embed", "ln_final.hook_out", "blocks.0.hook_in"]
        model([LONG])
        assert [item.hook for item in server.specs[-1].interventions] == ["hook_embed"]
    model([LONG])
    assert not server.specs[-1].interventions


def test_the_models_surface(model: hookwire.RemoteModel) -> None:
    cfg = model.cfg
    assert (cfg.n_layers, cfg.d_model, cfg.n_heads, cfg.d_vocab, cfg.n_ctx) == (3, 4, 2, 32, 24)
    assert cfg.layer_types == ("sliding_attention", "sliding_attention", "full_attention")
    assert cfg.key_value_sources == (None, None, 1)
    assert cfg.layer_scalars == (0.5, 0.5, 0.5)
    assert cfg.output_logits_soft_cap == cfg.final_logit_softcap == 30
    assert (cfg.bos_token_id, cfg.eos_token_ids, cfg.pad_token_id) == (2, (1,), 0)
    assert model.server.numerics == "reference"
    assert model.hook_names() == list(fake_model.BY_NAME)
    assert model.hook_names(aliases=False) == [hook.name for hook in fake_model.HOOKS]
    point = model.hook_dict["blocks.1.attn.hook_q"]
    assert point is model.hook_dict["blocks.1.attn.q.hook_out"]
    assert point.shape == ("batch", "pos", 2, 2)
    assert (point.dtype, point.layer, point.writable) == ("float32", 1, True)
    assert model.hook_dict["embed.hook_in"].read_only_reason == "token ids are the input"
    assert len(model.hook_points()) == len(fake_model.HOOKS)
    assert "fake" in repr(model)


def test_the_catalogue_and_the_tokenizer_are_asked_for_once(
    model: hookwire.RemoteModel, server: FakeServer
) -> None:
    for _ in range(3):
        model("a small step", return_type=None)
        model.hook_names()
    assert server.calls.count("list_hooks") == 1
    assert server.calls.count("get_tokenizer") == 1
