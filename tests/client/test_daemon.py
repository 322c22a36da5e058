"""The client against the daemon itself, on the toy checkpoint."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hookwire
import ml_dtypes
import numpy as np
import pytest
import torch
from hookwire import aio, ops
from transformer_lens.utilities.lm_utils import lm_cross_entropy_loss
from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
DAEMON = Path(os.environ.get("HOOKWIRED", ROOT / "build" / "release" / "bin" / "hookwired"))
TOY = ROOT / "toy" / "checkpoint"
CLEAN = "When Mary and John went to the store , John gave a drink to"
CORRUPTED = "When Mary and John went to the store , Mary gave a drink to"
SHORT = "Tom and Anna met at"


@contextmanager
def daemon(*arguments: str) -> Iterator[str]:
    """Starts a daemon on a free port; its address."""
    command = [
        str(DAEMON), "--model", str(TOY), "--listen", "127.0.0.1:0", "--threads", "1",
        "--digest-cache", "",
    ]  # fmt: skip
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 60)[0], "the daemon is not ready"
        line = process.stdout.readline()
        yield line.split()[-1]
    finally:
        process.terminate()
        assert process.wait(30) == 0


def wait_for_digest(address: str) -> None:
    """Waits until the server knows the digest of its weights, which it computes while it serves."""
    deadline = time.monotonic() + 60
    while True:
        with hookwire.connect(address, tensors="numpy", quiet=True) as model:
            if model.cfg.weights_digest != "pending":
                return
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with daemon("--numerics", "reference") as address:
        yield address


@pytest.fixture
def model(address: str) -> Iterator[hookwire.RemoteModel]:
    with hookwire.connect(address, tensors="numpy", quiet=True) as model:
        yield model


def test_the_model_is_described(model: hookwire.RemoteModel) -> None:
    cfg = model.cfg
    assert (cfg.n_layers, cfg.d_model, cfg.n_heads, cfg.n_key_value_heads) == (6, 64, 4, 2)
    assert (cfg.d_head, cfg.d_mlp, cfg.d_vocab, cfg.n_ctx) == (16, 192, 59, 128)
    assert cfg.layer_types == ("sliding_attention", "sliding_attention", "full_attention") * 2
    assert [layer.d_head for layer in cfg.layers] == [16, 16, 32] * 2
    assert cfg.key_value_sources == (None, None, None, None, 3, 2)
    assert cfg.layer_scalars == (0.75, 1.25, 0.875, 1.125, 0.625, 0.9375)
    assert cfg.final_logit_softcap == 30
    assert model.server.numerics == "reference"
    assert model.server.dtype == "float32"


def test_every_hook_comes_as_it_is_described(model: hookwire.RemoteModel) -> None:
    _, cache = model.run_with_cache(CLEAN)
    assert list(cache) != []
    assert set(cache) == set(model.hook_names())
    length = model.to_tokens(CLEAN).shape[1]
    for name, tensor in cache.items():
        point = model.hook_dict[name]
        assert tensor.shape == (1, *(axis.size or length for axis in point.axes)), name
        assert tensor.dtype.name == point.dtype, name
    assert cache["pattern", 5].shape == (1, 4, length, length)
    assert cache["embed"] is cache["embed.hook_out"]


def test_tokens_are_those_of_the_checkpoint(model: hookwire.RemoteModel) -> None:
    theirs = AutoTokenizer.from_pretrained(TOY, add_bos_token=True)
    texts = [CLEAN, SHORT]
    want = theirs(texts, padding=True, return_tensors="np")
    assert np.array_equal(model.to_tokens(texts), want["input_ids"])
    _, cache = model.run_with_cache(texts, names_filter="hook_embed", return_type=None)
    assert np.array_equal(cache.mask, want["attention_mask"] == 1)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_rows_have_the_bits_of_each_row_alone(
    model: hookwire.RemoteModel, side: str
) -> None:
    texts = [CLEAN, SHORT, CORRUPTED]
    logits, cache = model.run_with_cache(texts, padding_side=side)
    for row, text in enumerate(texts):
        alone, alone_cache = model.run_with_cache(text)
        real = cache.mask[row]
        assert np.array_equal(logits[row][real], alone[0])
        assert not logits[row][~real].any()
        for name, tensor in alone_cache.items():
            got = cache[name][row]
            if name.endswith(("hook_pattern", "hook_attn_scores")):
                assert np.array_equal(got[:, real][:, :, real], tensor[0]), name
            else:
                assert np.array_equal(got[real], tensor[0]), name
                assert not got[~real].any(), name


def test_pos_slice_and_logits_pos(model: hookwire.RemoteModel) -> None:
    logits, whole = model.run_with_cache([CLEAN, SHORT])
    for pos in (-1, [0, 3], slice(2, 5)):
        _, cache = model.run_with_cache([CLEAN, SHORT], pos_slice=pos, return_type=None)
        index = [pos] if isinstance(pos, int) else pos
        for name in whole:
            axis = -2 if name.endswith(("hook_pattern", "hook_attn_scores")) else 1
            want = np.take(whole[name], np.arange(logits.shape[1])[index], axis=axis)
            assert np.array_equal(cache[name], want), name
    last = model([CLEAN, SHORT], logits_pos=-1, padding_side="right")
    assert np.array_equal(last[:, 0], logits[:, -1])  # the toy's tokenizer pads on the left


@pytest.mark.parametrize("stop", [0, 3, 6, -1])
def test_stop_at_layer(model: hookwire.RemoteModel, stop: int) -> None:
    _, whole = model.run_with_cache(CLEAN)
    residual, cache = model.run_with_cache(CLEAN, stop_at_layer=stop)
    layer = stop % 6 if stop < 0 else stop
    entering = "ln_final.hook_in" if layer == 6 else f"blocks.{layer}.hook_in"
    assert np.array_equal(residual, whole[entering])
    assert all(np.array_equal(cache[name], whole[name]) for name in cache)
    assert f"blocks.{layer}.hook_in" not in cache
    everything, _ = model.run_with_cache(CLEAN, names_filter=lambda name: True, stop_at_layer=stop)
    assert np.array_equal(everything, residual)


def test_loss_and_log_probs(model: hookwire.RemoteModel) -> None:
    texts = [CLEAN, SHORT]
    logits, loss = model(texts, return_type="both")
    tokens = torch.from_numpy(model.to_tokens(texts))
    _, cache = model.run_with_cache(texts, names_filter="hook_embed", return_type=None)
    mask = torch.from_numpy(cache.mask)
    want = lm_cross_entropy_loss(torch.from_numpy(logits), tokens, mask)
    np.testing.assert_allclose(loss, want.numpy(), rtol=1e-5)
    per_token = lm_cross_entropy_loss(torch.from_numpy(logits), tokens, mask, per_token=True)
    got = model(texts, return_type="loss", loss_per_token=True)
    np.testing.assert_allclose(got, per_token.numpy(), rtol=1e-4, atol=1e-5)
    table = torch.from_numpy(logits[:, -1]).log_softmax(-1).numpy()
    names = [model.to_single_token(name) for name in ("Mary", "John")]
    got = model.log_probs(texts, ["Mary", "John"])
    np.testing.assert_allclose(got, table[:, names], rtol=1e-4, atol=1e-5)


def test_patching_shows_cause_and_effect(model: hookwire.RemoteModel) -> None:
    mary, john = (model.to_single_token(name) for name in ("Mary", "John"))

    def difference(logits: Any, row: int) -> float:
        return float(logits[row, -1, mary] - logits[row, -1, john])

    clean = model([CLEAN, CORRUPTED], logits_pos=-1)
    assert difference(clean, 0) > 5
    assert difference(clean, 1) < -5
    position = model.get_token_position("John", CLEAN, mode="last")
    early = ("blocks.0.hook_resid_pre", ops.copy(from_row=0, row=1, pos=position))
    late = ("blocks.5.hook_resid_post", ops.copy(from_row=0, row=1, pos=-1))
    for hook in (early, late):
        patched = model.run_with_hooks([CLEAN, CORRUPTED], fwd_hooks=[hook], logits_pos=-1)
        assert difference(patched, 1) > 5
        assert np.array_equal(patched[0], clean[0])


def test_a_captured_tensor_put_back_changes_nothing(model: hookwire.RemoteModel) -> None:
    texts = [CLEAN, SHORT]
    logits, cache = model.run_with_cache(texts)
    for point in model.hook_points():
        if point.writable:
            op = ops.set(cache[point.name])
            again = model.run_with_hooks(texts, fwd_hooks=[(point.name, op)], allow_non_finite=True)
            assert np.array_equal(again, logits), point.name


def test_a_plan_is_kept(model: hookwire.RemoteModel) -> None:
    plan = model.plan([CLEAN, SHORT], "blocks.*.attn.*", fwd_hooks=[("hook_embed", ops.scale(2))])
    _, cache = model.run_with_cache(
        [CLEAN, SHORT], names_filter="blocks.*.attn.*", fwd_hooks=[("hook_embed", ops.scale(2))]
    )
    assert plan.total_bytes == model.last_receipt.bytes
    assert [name for tensor in plan.tensors[:-1] for name in tensor.names] == list(cache)
    assert plan.intervened_hooks == ("embed.hook_out",)


def test_a_stream(model: hookwire.RemoteModel) -> None:
    _, cache = model.run_with_cache([CLEAN, SHORT])
    seen = [name for name, _ in model.stream([CLEAN, SHORT], "blocks.*.hook_in")]
    assert seen == [f"blocks.{layer}.hook_in" for layer in range(6)]
    for activation in model.stream([CLEAN, SHORT]):
        for name in activation.names:
            assert np.array_equal(activation.tensor, cache[name]), name
    with model.stream(CLEAN) as stream:
        next(stream)
    model(CLEAN)


ERRORS: list[tuple[type[hookwire.HookwireError], Any, dict[str, Any]]] = [
    (hookwire.HookNotFoundError, CLEAN, {"names_filter": "blocks.1.hook_resid_prae"}),
    (hookwire.AbsentHookError, CLEAN, {"names_filter": "blocks.5.attn.hook_k"}),
    (hookwire.GlobNoMatchError, CLEAN, {"names_filter": "blocks.*.router.*"}),
    (hookwire.ReadOnlyHookError, CLEAN, {"fwd_hooks": [("embed.hook_in", ops.zero())]}),
    (hookwire.TokenOutOfRangeError, [[2, 59]], {}),
    (hookwire.SequenceTooLongError, [[2] * 129], {}),
    (hookwire.PositionOutOfRangeError, [[2, 5]], {"fwd_hooks": [("hook_embed", ops.zero(pos=2))]}),
    (
        hookwire.HeadOutOfRangeError,
        CLEAN,
        {"fwd_hooks": [("blocks.0.attn.hook_q", ops.zero(head=4))]},
    ),
    (hookwire.NoHeadsError, CLEAN, {"fwd_hooks": [("hook_embed", ops.zero(head=0))]}),
    (hookwire.FeatureOutOfRangeError, CLEAN, {"fwd_hooks": [("hook_embed", ops.zero(feature=64))]}),
    (hookwire.ValueShapeError, CLEAN, {"fwd_hooks": [("hook_embed", ops.set([1.0, 2.0]))]}),
    (hookwire.ValueNotFiniteError, CLEAN, {"fwd_hooks": [("hook_embed", ops.set(float("nan")))]}),
    (
        hookwire.NeverFiresError,
        CLEAN,
        {"fwd_hooks": [("blocks.4.hook_in", ops.zero())], "stop_at_layer": 2},
    ),
    (hookwire.NeverFiresError, CLEAN, {"names_filter": "blocks.4.hook_in", "stop_at_layer": 2}),
    (hookwire.ResultTooLargeError, CLEAN, {"max_result_bytes": 1000}),
]


@pytest.mark.parametrize(("error", "value", "arguments"), ERRORS)
def test_errors_are_typed_and_leave_nothing_behind(
    model: hookwire.RemoteModel, error: Any, value: Any, arguments: dict[str, Any]
) -> None:
    with pytest.raises(error) as caught:
        model.run_with_cache(value, **arguments)
    assert type(caught.value) is error
    assert caught.value.reason == error.default_reason
    assert caught.value.code is not None
    if error is hookwire.ResultTooLargeError:
        exact = model.plan(value).total_bytes
        assert (caught.value.bytes, caught.value.limit) == (exact, 1000)
    model(SHORT)


def test_an_absent_hook_says_why_and_what_to_use(model: hookwire.RemoteModel) -> None:
    with pytest.raises(hookwire.AbsentHookError, match="reuses the keys and values of layer"):
        model.run_with_cache(CLEAN, names_filter="blocks.5.attn.hook_k")
    with pytest.raises(hookwire.HookNotFoundError) as caught:
        model.run_with_cache(CLEAN, names_filter="blocks.1.hook_resid_prae")
    assert caught.value.suggestion == "blocks.1.hook_resid_pre"


def test_only_names_that_others_have_can_be_skipped(model: hookwire.RemoteModel) -> None:
    absent = ["blocks.5.attn.hook_k", "blocks.0.router.hook_out", "blocks.*.experts.*"]
    with pytest.warns(hookwire.SkippedWarning, match="blocks.5.attn.hook_k, blocks.0.router"):
        _, cache = model.run_with_cache(CLEAN, names_filter=["hook_embed", *absent], missing="skip")
    assert set(cache) == {"hook_embed", "embed.hook_out"}
    plan = model.plan(CLEAN, ["hook_embed", *absent], missing="skip")
    assert plan.skipped == tuple(absent)
    for typo in ("hook_emebd", "blocks.17.hook_in", "blocks.*.hook_nothing"):
        with pytest.raises(KeyError, match=r"did you mean|layers 0 to 5|with a name like it"):
            model.run_with_cache(CLEAN, names_filter=["hook_embed", typo], missing="skip")


def test_what_is_at_the_stop_is_what_the_run_returns(model: hookwire.RemoteModel) -> None:
    with pytest.raises(hookwire.NeverFiresError, match="can return") as caught:
        model.run_with_cache(CLEAN, names_filter="blocks.2.hook_resid_pre", stop_at_layer=2)
    assert "outputs.residual" not in str(caught.value)
    assert caught.value.suggestion == "what a run with stop_at_layer returns"


def test_a_layer_too_many(model: hookwire.RemoteModel) -> None:
    with pytest.raises(KeyError, match="layers 0 to 5"):
        model.run_with_cache(CLEAN, names_filter="blocks.17.hook_in")


def test_bfloat16() -> None:
    with daemon("--dtype", "bfloat16", "--numerics", "reference") as address:
        with hookwire.connect(address, tensors="numpy", quiet=True) as model:
            logits, cache = model.run_with_cache([CLEAN, SHORT])
            assert logits.dtype == cache["embed"].dtype == ml_dtypes.bfloat16
        with hookwire.connect(address, tensors="torch", quiet=True) as model:
            same = model([CLEAN, SHORT])
            assert same.dtype == torch.bfloat16
            assert np.array_equal(same.float().numpy(), logits.astype(np.float32))
            op = ops.set(same.new_zeros(64))
            assert not model.run_with_hooks(CLEAN, fwd_hooks=[("ln_final.hook_out", op)]).any()


async def test_the_asynchronous_twin(address: str, model: hookwire.RemoteModel) -> None:
    async with await aio.connect(address, tensors="numpy", quiet=True) as twin:
        logits, cache = await twin.run_with_cache([CLEAN, SHORT])
        want, want_cache = model.run_with_cache([CLEAN, SHORT])
        assert np.array_equal(logits, want)
        assert list(cache) == list(want_cache)
        streamed = [name async for name, _ in twin.stream(CLEAN, "blocks.*.hook_in")]
        assert streamed == [f"blocks.{layer}.hook_in" for layer in range(6)]


def test_many_prompts_with_a_function_each_by_itself(model: hookwire.RemoteModel) -> None:
    seen = []

    def halve(tensor: Any, hook: hookwire.Hook) -> Any:
        seen.append(tensor.shape[0])
        return tensor * 0.5

    prompts = [CLEAN, SHORT, CORRUPTED, SHORT] * 3
    hooks = [("blocks.2.hook_resid_pre", halve)]
    got = list(model.map(prompts, "blocks.3.hook_resid_pre", fwd_hooks=hooks))
    assert seen == [1] * len(prompts)
    for prompt, (logits, cache) in zip(prompts, got, strict=True):
        alone, theirs = model.run_with_cache(
            prompt, names_filter="blocks.3.hook_resid_pre", fwd_hooks=hooks
        )
        np.testing.assert_array_equal(logits, alone)
        np.testing.assert_array_equal(cache["resid_pre", 3], theirs["resid_pre", 3])


def test_a_bad_prompt_among_many_is_named(model: hookwire.RemoteModel) -> None:
    prompts: list[Any] = [SHORT] * 40 + [[2] * 6, [999] * 6]
    with pytest.raises(hookwire.TokenOutOfRangeError, match=r"\(prompt 41: ") as caught:
        list(model.map(prompts, "hook_embed"))
    assert caught.value.metadata["prompt"] == "41"
