"""What the float32 reference of a bfloat16 computation is."""

from __future__ import annotations

from pathlib import Path

import torch

from bench import agree
from bench.baselines import Transformers
from bench.checkpoints import TOY
from bench.exact import in_float32

LAYERS = range(TOY.n_layers)


def test_nothing_is_rounded_but_the_weights(tmp_path: Path):
    tokens = TOY.prompt(9)
    model = Transformers(TOY.directory(), torch.bfloat16)
    exact = in_float32(lambda: model.run(tokens, LAYERS, "all"))
    # The same weights, widened.
    wide = Transformers(TOY.directory(), torch.bfloat16)
    wide._model.float()
    with torch.no_grad():
        agree.require(exact, wide.run(tokens, LAYERS, "all"))
        rounded = model.run(tokens, LAYERS, "all")
    assert all(values.dtype is torch.bfloat16 for values in rounded.values())
    agree.require_rounded(rounded, rounded, exact)


def test_the_last_logits_do_not_cut_the_layers_that_are_asked_for():
    tokens = TOY.prompt(9)
    model = Transformers(TOY.directory())
    with torch.no_grad():
        last, whole = model.run(tokens, LAYERS, "last"), model.run(tokens, LAYERS, "all")
        alone = model.run(tokens, [], "last")
    whole["logits"] = whole["logits"][:, -1:]
    agree.require(last, whole)
    agree.require(alone, {"logits": whole["logits"]})
