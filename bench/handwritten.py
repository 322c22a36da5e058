"""The hand-written Python server (`bench.python_server`), as the bench starts and asks it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import torch
from safetensors.torch import load
from torch import Tensor

from bench.clients import Target
from bench.process import running

METHOD = "/hookwire.bench.Python/Run"


@contextmanager
def python_server(checkpoint: Path, threads: int, dtype: torch.dtype) -> Iterator[str]:
    """Serves a checkpoint; its address."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "bench.python_server",
        checkpoint,
        str(threads),
        str(dtype).removeprefix("torch."),
    ]
    with running(command) as server:
        yield server.address


def target(address: str, prompts: Tensor, layer: int, *, logits: bool, stop: bool) -> Target:
    """What clients ask it, one prompt of [prompt, pos] after another."""
    requests = (
        {"tokens": tokens, "layer": layer, "logits": logits, "stop": stop}
        for tokens in prompts.tolist()
    )
    encoded = tuple(json.dumps(request).encode() for request in requests)
    return Target(address, METHOD, streams=False, requests=encoded)


def ask(asked: Target) -> list[dict[str, Tensor]]:
    """The answer to each request: "hook" [pos, d_model], and "logits" [d_vocab]."""
    with grpc.insecure_channel(
        asked.address, options=[("grpc.max_receive_message_length", -1)]
    ) as channel:
        method: Any = channel.unary_unary(asked.method)
        return [load(method(request)) for request in asked.requests]
