"""What cannot be meant is an error that names the argument and says what it takes."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any

import hookwire
import numpy as np
import pytest
import torch
from hookwire import aio, ops

from tests.client.fake_server import FakeServer

Model = hookwire.RemoteModel
IDS = [[3, 1, 4]]
LISTS = [[1.0], [1.0, 2.0]]

WRONG: dict[str, tuple[Callable[[Model], Any], type[Exception], str]] = {
    "a number as filter": (
        lambda m: m.run_with_cache(IDS, names_filter=5),
        TypeError,
        "names_filter must be None, a name, a glob, .*, or a function of a name, not 5",
    ),
    "lists in a filter": (
        lambda m: m.run_with_cache(IDS, names_filter=[["a"]]),
        TypeError,
        r"names_filter must be .* not \[\['a'\]\]",
    ),
    "a number as text": (
        lambda m: m.to_tokens(5),
        TypeError,
        "input must be a text or a list of texts, not 5",
    ),
    "token ids as text": (
        lambda m: m.to_tokens(torch.tensor([1, 2])),
        TypeError,
        "input must be a text or a list of texts, not Tensor of torch.int64",
    ),
    "no side": (lambda m: m.to_tokens("a", padding_side="up"), ValueError, "padding_side"),
    "fractions of ids": (lambda m: m.to_string([1.5]), TypeError, r"tokens .*integers, not \[1.5"),
    "an id below 0": (lambda m: m.to_string([-1]), hookwire.TokenOutOfRangeError, "tokens has -1"),
    "text as one id": (
        lambda m: m.to_single_str_token("a"),
        TypeError,
        "int_token must be a token id, not 'a'",
    ),
    "an id as one text": (
        lambda m: m.to_single_token(5),
        TypeError,
        "string must be a string, not 5",
    ),
    "no token to look for": (
        lambda m: m.get_token_position(None, "a"),
        TypeError,
        "single_token must be a token id or a string, not None",
    ),
    "a truth as layer": (
        lambda m: m(IDS, stop_at_layer=True),
        TypeError,
        "stop_at_layer must be an int or None, not True",
    ),
    "text as layer": (
        lambda m: m(IDS, start_at_layer="3"),
        TypeError,
        "start_at_layer must be an int or None, not '3'",
    ),
    "a truth of torch as layer": (
        lambda m: m(IDS, stop_at_layer=torch.tensor(True)),
        TypeError,
        "stop_at_layer must be an int or None, not Tensor of torch.bool",
    ),
    "a fraction of torch as layer": (
        lambda m: m(IDS, stop_at_layer=torch.tensor(1.0)),
        TypeError,
        "stop_at_layer must be an int or None, not Tensor of torch.float32",
    ),
    "four parts of a slice": (
        lambda m: m.run_with_cache(IDS, pos_slice=(1, 2, 3, 4)),
        TypeError,
        r"pos_slice must be .*\(start, stop, step\), not \(1, 2, 3, 4\)",
    ),
    "a position beyond all": (
        lambda m: ops.zero(pos=2**70),
        hookwire.BadSelectionError,
        "pos=1180591620717411303424 does not fit into 64 bits",
    ),
    "a ragged value": (lambda m: ops.set(LISTS), hookwire.ValueShapeError, "value must be .*rows"),
    "a ragged factor": (lambda m: ops.scale(LISTS), hookwire.ValueShapeError, "factor must be"),
    "objects in a value": (lambda m: ops.add([None]), hookwire.ValueDtypeError, r"not \[None\]"),
    "a value beyond floats": (lambda m: ops.add(2**2000), hookwire.ValueDtypeError, "float64"),
    "a number as hooks": (
        lambda m: m.run_with_hooks(IDS, fwd_hooks=5),
        TypeError,
        "fwd_hooks must be a list of pairs",
    ),
    "hooks at no place": (
        lambda m: m.run_with_hooks(IDS, fwd_hooks=[([], ops.zero())]),
        hookwire.GlobNoMatchError,
        "empty list of hook points",
    ),
    "a hook at a number": (
        lambda m: m.add_hook(5, ops.zero()),
        TypeError,
        "name must be that of a hook point, .* not 5",
    ),
    "text as limit": (
        lambda m: m(IDS, max_result_bytes="1"),
        TypeError,
        "max_result_bytes must be an int or None, not '1'",
    ),
    "a limit of nothing": (lambda m: m(IDS, max_result_bytes=0), ValueError, "at least 1, not 0"),
    "a number as truth": (
        lambda m: m(IDS, allow_non_finite=1),
        TypeError,
        r"allow_non_finite of model\(\) must be True or False, not 1",
    ),
    "text as seconds": (
        lambda m: m(IDS, timeout="a"),
        TypeError,
        "timeout must be seconds or None, not 'a'",
    ),
    "a fraction as target": (
        lambda m: m.log_probs(IDS, [1.5]),
        TypeError,
        "targets must be token ids, or strings that are one token, not 1.5",
    ),
    "a target below 0": (
        lambda m: m.log_probs(IDS, -1),
        hookwire.TokenOutOfRangeError,
        "targets has -1",
    ),
    "a fraction as position": (
        lambda m: m.log_probs(IDS, 1, pos=1.5),
        TypeError,
        "pos must be an int, or one for each target, not 1.5",
    ),
    "a parameter by number": (
        lambda m: m.weights[5],
        TypeError,
        "by name, .* not by 5",
    ),
    "a fraction of a row": (
        lambda m: m.weights.rows("embed.weight", [1.5]),
        TypeError,
        "rows must be an int or a list of ints",
    ),
    "rows of no parameter": (lambda m: m.weights.rows(None, [1]), TypeError, "by name, .* None"),
    "a list of the parameters": (lambda m: m.weights.keys(), AttributeError, "has no list of the"),
    "how many parameters": (lambda m: len(m.weights), NotImplementedError, "has no list of the"),
    "a parameter to set": (
        lambda m: m.weights.__setitem__("embed.weight", 1),
        NotImplementedError,
        "the weights are the server's",
    ),
    "a parameter as attribute": (
        lambda m: m.weights.embed,
        AttributeError,
        r"no attribute 'embed': .* model\.weights\[",
    ),
    "an attribute of all layers": (
        lambda m: m.W_Q.T,
        AttributeError,
        r"no attribute 'T': take W_Q\[layer\]\.T, or W_Q\.stack\(\)\.T",
    ),
    "a head that there is not": (
        lambda m: m.W_O[0, 9],
        IndexError,
        r"W_O\[0, 9\] selects what is not there: layer 0 has the shape \[2, ",
    ),
    "a tokenizer to set": (
        lambda m: setattr(m, "tokenizer", None),
        AttributeError,
        r"model\.tokenizer cannot be set: .* model\.tokenizer\.padding_side",
    ),
    "a configuration to set": (
        lambda m: setattr(m, "cfg", None),
        AttributeError,
        "model.cfg cannot be set",
    ),
    "a number as folder": (
        lambda m: hookwire.connect(m.server.address, cache_weights=3),  # type: ignore[arg-type]
        TypeError,
        "cache_weights must be True, False or a directory, not 3",
    ),
    "a stream to pickle": (
        lambda m: pickle.dumps(m.stream(IDS, "hook_embed")),
        hookwire.HookwireError,
        "cannot be pickled or copied: pickle its tensors",
    ),
    "a filter of two names": (
        lambda m: m.run_with_cache(IDS, names_filter=lambda one, other: True),
        TypeError,
        "names_filter must be a function of a name, and this one does not take that: missing",
    ),
    "a place of two names": (
        lambda m: m.run_with_hooks(IDS, [(lambda one, other: True, ops.zero())]),
        TypeError,
        "a hook's place must be a function of a name, and this one does not",
    ),
    "text as progress": (
        lambda m: m(IDS, progress="yes"),
        TypeError,
        r"progress of model\(\) must be True, False or None, not 'yes'",
    ),
    "a single id": (lambda m: m(3), TypeError, r"not a single id: \[\[3\]\]"),
    "no loss by token": (
        lambda m: m(IDS, loss_per_token=True),
        ValueError,
        "loss_per_token needs a loss, and return_type is 'logits'",
    ),
    "a name as hooks": (
        lambda m: m.run_with_hooks(IDS, fwd_hooks="hook_embed"),
        TypeError,
        "fwd_hooks must be a list of pairs .*, not 'hook_embed'",
    ),
    "a dict as hooks": (
        lambda m: m.run_with_hooks(IDS, fwd_hooks={"hook_embed": ops.zero()}),
        TypeError,
        r"fwd_hooks must be a list of pairs .*, not \{'hook_embed'",
    ),
    "one pair as hooks": (
        lambda m: m.run_with_hooks(IDS, fwd_hooks=("hook_embed", ops.zero())),
        TypeError,
        r"this is one pair: put it into a list, \[\('hook_embed', …\)\]",
    ),
    "a pair the wrong way round": (
        lambda m: m.run_with_hooks(IDS, fwd_hooks=[(ops.zero(), "hook_embed")]),
        TypeError,
        "with the name first: 'hook_embed' stands second",
    ),
    "no targets": (lambda m: m.log_probs(IDS, []), ValueError, "targets is empty"),
    "a dict as targets": (lambda m: m.log_probs(IDS, {}), TypeError, "targets must be token ids"),
    "text as position": (
        lambda m: m.log_probs(IDS, 1, pos="last"),
        TypeError,
        "pos must be an int, or one for each target, not 'last'",
    ),
    "one position for two": (
        lambda m: m.log_probs(IDS, [1, 2], pos=[1]),
        ValueError,
        "pos has 1 position for 2 targets",
    ),
    "a number as text to Hugging Face's call": (
        lambda m: m.tokenizer(3),
        TypeError,
        "text must be a text or a list of texts, not 3",
    ),
    "a row to decode": (
        lambda m: m.tokenizer.batch_decode([[999]]),
        hookwire.TokenOutOfRangeError,
        "sequences has 999",
    ),
    "a number as word": (
        lambda m: m.tokenizer.convert_tokens_to_ids(3),
        TypeError,
        "tokens must be a word of the vocabulary, or a list of words, not 3",
    ),
    "a number as words": (
        lambda m: m.tokenizer.convert_tokens_to_string(3),
        TypeError,
        "tokens must be a text or a list of texts, not 3",
    ),
    "a special token that there is not": (
        lambda m: setattr(m.tokenizer, "bos_token_id", 999),
        hookwire.TokenOutOfRangeError,
        "bos_token_id has 999",
    ),
    "text as multiple": (
        lambda m: m.tokenizer("a", padding=True, pad_to_multiple_of="x"),
        TypeError,
        "pad_to_multiple_of must be a number of tokens, not 'x'",
    ),
    "a list as files": (
        lambda m: hookwire.Tokenizer([]),  # type: ignore[arg-type]
        TypeError,
        "files must be the contents of files by name",
    ),
    "a number as short name": (
        lambda m: hookwire.get_act_name(3, 1),  # type: ignore[arg-type]
        TypeError,
        "name must be the short name of an activation",
    ),
    "a tensor as filter": (
        lambda m: m.run_with_cache(IDS, names_filter=torch.tensor(1)),
        TypeError,
        "names_filter must be None, a name",
    ),
    "an array without an axis as filter": (
        lambda m: m.run_with_cache(IDS, names_filter=np.array("resid_post")),
        TypeError,
        "names_filter must be None, a name",
    ),
    "an array without an axis as hooks": (
        lambda m: m.run_with_hooks(IDS, fwd_hooks=np.array(1)),
        TypeError,
        "fwd_hooks must be a list of pairs",
    ),
    "an array without an axis as words": (
        lambda m: m.tokenizer.convert_tokens_to_ids(np.array("Mary")),
        TypeError,
        "tokens must be a word of the vocabulary, or a list",
    ),
    "an array without an axis as labels": (
        lambda m: hookwire.plot.heatmap(np.zeros((2, 2)), tokens=np.array(1)),  # type: ignore[arg-type]
        TypeError,
        "tokens must be a list of labels",
    ),
    "a number as glob": (lambda m: m.catalogue().match(3), TypeError, "by its name, .* not by 3"),
    "text as picture": (
        lambda m: hookwire.plot.heatmap([["a"]]),
        TypeError,
        r"values must be real numbers, not \[\['a'\]\]",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_meant(model: Model, server: FakeServer, what: str) -> None:
    call, error, message = WRONG[what]
    with pytest.raises(error, match=message) as caught:
        call(model)
    assert isinstance(caught.value, hookwire.HookwireError)
    assert "run" not in server.calls


def test_what_counts_as_an_int(model: Model) -> None:
    want = model(IDS, stop_at_layer=2)
    for layer in (np.int64(2), torch.tensor(2)):
        assert np.array_equal(model(IDS, stop_at_layer=layer), want)
    probability = model.log_probs(IDS, 5, pos=[-1])
    for pos in (np.array([-1]), np.int32(-1), torch.tensor(-1), range(2, 3)):
        assert np.array_equal(model.log_probs(IDS, 5, pos=pos), probability)


@pytest.mark.parametrize(
    ("method", "keyword", "near"),
    [
        ("run_with_cache", "name_filter", "names_filter"),
        ("run_with_cache", "names_filtre", "names_filter"),
        ("run_with_cache", "stop_layer", "stop_at_layer"),
        ("run_with_hooks", "fwd_hook", "fwd_hooks"),
        ("run_with_hooks", "attn_mask", "attention_mask"),
        ("__call__", "return_typ", "return_type"),
        ("plan", "max_bytes", "max_result_bytes"),
        ("stream", "time_out", "timeout"),
        ("log_probs", "allow_nonfinite", "allow_non_finite"),
        ("run_with_cache", "zzz", None),
        ("run_with_hooks", "names_filter", None),
    ],
)
async def test_a_misspelt_keyword(
    server: FakeServer, model: Model, method: str, keyword: str, near: str | None
) -> None:
    hint = rf"did you mean '{near}'\?" if near else "it takes input, .*, timeout"
    name = "model" if method == "__call__" else rf"model\.{method}"
    said = rf"^{name}\(\) got an unexpected keyword argument '{keyword}'; {hint}$"
    with pytest.raises(TypeError, match=said) as caught:
        getattr(model, method)(IDS, **{keyword: None})
    assert isinstance(caught.value, hookwire.HookwireError)
    assert caught.value.suggestion == near
    async with await aio.connect(server.address, quiet=True) as twin:

        async def call() -> None:
            called = getattr(twin, method)(IDS, **{keyword: None})
            if inspect.isawaitable(called):
                await called

        with pytest.raises(TypeError, match=said):
            await call()
