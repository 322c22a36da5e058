"""What people write at the top of their notebooks, the same over both models."""

from __future__ import annotations

from typing import Any

import hookwire
import pytest
import torch
from hookwire import errors
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.utilities import Slice

from tests.interact.conftest import Pair
from tests.parity.daemon import ROOT, hookwired

TOY = ROOT / "toy" / "checkpoint"
TEXTS = ["When Mary and John went to the store", "Mary"]


def test_tensors_beside_the_models(pair: Pair) -> None:
    def body(model: Any) -> Any:
        steer = torch.ones(model.cfg.d_model, device=model.cfg.device, dtype=model.cfg.dtype)
        hook = ("blocks.1.hook_resid_post", lambda value, hook: value + steer)
        return model.run_with_hooks(pair.tokens(), fwd_hooks=[hook])

    pair.same(body)


def test_a_cache_on_a_device(pair: Pair) -> None:
    def body(model: Any) -> Any:
        _, cache = model.run_with_cache(
            pair.tokens(), device="cpu", names_filter="blocks.0.hook_resid_post"
        )
        return cache["blocks.0.hook_resid_post"]

    pair.same(body)


@pytest.mark.parametrize("given", [(1, 3), [0, 2], None])
def test_positions_as_a_slice_of_transformer_lens(pair: Pair, given: Any) -> None:
    def body(model: Any) -> Any:
        _, cache = model.run_with_cache(
            pair.tokens(), pos_slice=Slice(given), names_filter="blocks.0.hook_resid_post"
        )
        return cache["blocks.0.hook_resid_post"]

    pair.same(body)


def test_a_slice_that_takes_the_axis_away_is_refused(pair: Pair) -> None:
    with pytest.raises(TypeError, match="pass pos_slice=-1"):
        pair.remote.run_with_cache(pair.tokens(), pos_slice=Slice(-1))


def test_arguments_that_are_none(pair: Pair) -> None:
    pair.same(lambda model: model(pair.tokens(), past_key_values=None, pixel_values=None))
    with pytest.raises(errors.UnsupportedError, match="past_key_values is not supported: each run"):
        pair.remote(pair.tokens(), past_key_values=object())


def test_a_hook_point_says_where_hooks_go(pair: Pair) -> None:
    with pytest.raises(errors.NoModulesError, match=r"model.add_hook\('blocks.0.hook_out', hook\)"):
        pair.remote.hook_dict["blocks.0.hook_out"].add_hook(print)


def test_the_tokenizer_itself() -> None:
    local = TransformerBridge.boot_transformers(str(TOY), device="cpu", dtype=torch.float32)
    with (
        hookwired(TOY, numerics="fast", dtype="float32", threads=1) as address,
        hookwire.connect(address, quiet=True) as model,
    ):
        here, there = model.tokenizer, local.tokenizer
        for text in TEXTS:
            ids = there(text)["input_ids"]
            assert here(text)["input_ids"] == ids
            assert here(text)["attention_mask"] == there(text)["attention_mask"]
            assert here.decode(ids) == there.decode(ids)
            assert here.decode(torch.tensor(ids), skip_special_tokens=True) == there.decode(
                ids, skip_special_tokens=True
            )
            assert here.convert_ids_to_tokens(ids) == there.convert_ids_to_tokens(ids)
            tokens = there.convert_ids_to_tokens(ids)
            assert here.convert_tokens_to_ids(tokens) == there.convert_tokens_to_ids(tokens)
        assert here(TEXTS)["input_ids"] == there(TEXTS)["input_ids"]
        rows = there(TEXTS)["input_ids"]
        assert here.batch_decode(rows) == there.batch_decode(rows)
        assert here.convert_tokens_to_ids("no such word") == there.convert_tokens_to_ids(
            "no such word"
        )
        assert here.get_vocab() == there.get_vocab()
        assert (len(here), here.vocab_size) == (len(there), there.vocab_size)
        for kind in ("bos_token", "eos_token", "pad_token"):
            assert getattr(here, kind) == getattr(there, kind)
