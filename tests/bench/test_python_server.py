"""The hand-written server returns what Transformers does, wherever its pass ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from safetensors.torch import load

from bench import agree
from bench.baselines import Transformers
from bench.checkpoints import TOY
from bench.python_server import Runner

LAYER = 3


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner(str(TOY.directory()))


@pytest.mark.parametrize(("logits", "stop"), [(False, False), (False, True), (True, False)])
def test_it_returns_a_hook_and_the_last_logits(runner: Runner, logits: bool, stop: bool):
    tokens = TOY.prompt(9)
    request = {"tokens": tokens[0].tolist(), "layer": LAYER, "logits": logits, "stop": stop}
    context: Any = None
    answer = load(runner(json.dumps(request).encode(), context))
    with torch.no_grad():
        expected = Transformers(TOY.directory()).run(tokens, [LAYER], "all")
    want = {"hook": expected[f"blocks.{LAYER}.hook_out"][0]}
    if logits:
        want["logits"] = expected["logits"][0, -1]
    agree.require(answer, want)
