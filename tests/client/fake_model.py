"""A model small enough to be read: what the fake server runs.

Three layers of width 4 with two heads, over a vocabulary of 32. Every tensor depends on all that
comes before it, so a wrong row, position or order shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from hookwire._proto import model_pb2
from hookwire._proto import tensor_pb2 as pb

N_LAYERS, D_MODEL, N_HEADS, D_HEAD, D_MLP, D_VOCAB, N_CTX = 3, 4, 2, 2, 3, 32, 24

POSITION, KEY, HEAD, FEATURE = (
    pb.Axis.KIND_POSITION,
    pb.Axis.KIND_KEY_POSITION,
    pb.Axis.KIND_HEAD,
    pb.Axis.KIND_FEATURE,
)
POS = ("pos", POSITION, 0)
STREAM = (POS, ("d_model", FEATURE, D_MODEL))
HEADS = (POS, ("head", HEAD, N_HEADS), ("d_head", FEATURE, D_HEAD))
PATTERN = (("head", HEAD, N_HEADS), POS, ("key_pos", KEY, 0))
LOGITS = (POS, ("d_vocab", FEATURE, D_VOCAB))

Axes = tuple[tuple[str, int, int], ...]
Tap = Callable[[str, list[np.ndarray]], list[np.ndarray]]

_random = np.random.default_rng(7)
EMBED = _random.normal(size=(D_VOCAB, D_MODEL)).astype(np.float32)
UNEMBED = _random.normal(size=(D_MODEL, D_VOCAB)).astype(np.float32)
GATE = _random.normal(size=(N_LAYERS, D_MODEL, D_MLP)).astype(np.float32)
DOWN = _random.normal(size=(N_LAYERS, D_MLP, D_MODEL)).astype(np.float32)


@dataclass(frozen=True)
class Hook:
    name: str
    aliases: tuple[str, ...]
    layer: int | None
    axes: Axes
    writable: bool = True
    dtype: int = pb.DTYPE_FLOAT32


def _hooks() -> Iterator[Hook]:
    yield Hook("embed.hook_in", (), None, (POS,), writable=False, dtype=pb.DTYPE_INT64)
    yield Hook("embed.hook_out", ("hook_embed",), None, STREAM)
    for i in range(N_LAYERS):
        block = f"blocks.{i}"
        yield Hook(f"{block}.hook_in", (f"{block}.hook_resid_pre",), i, STREAM)
        yield Hook(f"{block}.attn.q.hook_out", (f"{block}.attn.hook_q",), i, HEADS)
        yield Hook(f"{block}.attn.hook_pattern", (), i, PATTERN)
        yield Hook(
            f"{block}.mlp.gate.hook_out",
            (f"{block}.mlp.hook_pre",),
            i,
            (POS, ("d_mlp", FEATURE, D_MLP)),
        )
        yield Hook(f"{block}.hook_out", (f"{block}.hook_resid_post",), i, STREAM)
    yield Hook("ln_final.hook_out", (), None, STREAM)
    yield Hook("hook_logits", (), None, LOGITS)


HOOKS = tuple(_hooks())
BY_NAME = {name: hook for hook in HOOKS for name in (hook.name, *hook.aliases)}
ABSENT = {"blocks.2.attn.hook_k": "layer 2 reuses the keys of layer 1"}


def forward(
    sequences: list[np.ndarray], tap: Tap, stop_at_layer: int | None = None
) -> list[np.ndarray]:
    """Runs all sequences in step, and shows every hook point to `tap`, which may change it.

    Returns the residual stream where the pass stops, or the logits.
    """
    tap("embed.hook_in", [np.asarray(tokens, np.int64) for tokens in sequences])
    streams = tap("embed.hook_out", [EMBED[tokens] for tokens in sequences])
    for i in range(N_LAYERS):
        if stop_at_layer == i:
            return streams
        streams = _block(i, streams, tap)
    if stop_at_layer is not None:
        return streams
    final = tap("ln_final.hook_out", [x / (1 + np.abs(x).sum(-1, keepdims=True)) for x in streams])
    return tap("hook_logits", [(x @ UNEMBED).astype(np.float32) for x in final])


def _block(i: int, streams: list[np.ndarray], tap: Tap) -> list[np.ndarray]:
    block = f"blocks.{i}"
    streams = tap(f"{block}.hook_in", streams)
    q = tap(f"{block}.attn.q.hook_out", [x.reshape(-1, N_HEADS, D_HEAD) * (i + 1) for x in streams])
    patterns = tap(f"{block}.attn.hook_pattern", [_pattern(x) for x in q])
    z = [
        np.einsum("hqk,khd->qhd", p, x).reshape(-1, D_MODEL)
        for p, x in zip(patterns, q, strict=True)
    ]
    mid = [(x + y).astype(np.float32) for x, y in zip(streams, z, strict=True)]
    pre = tap(f"{block}.mlp.gate.hook_out", [(x @ GATE[i]).astype(np.float32) for x in mid])
    out = [(x + np.tanh(y) @ DOWN[i]).astype(np.float32) for x, y in zip(mid, pre, strict=True)]
    return tap(f"{block}.hook_out", out)


def _pattern(q: np.ndarray) -> np.ndarray:
    scores = np.einsum("qhd,khd->hqk", q, q)
    scores = np.where(np.tril(np.ones(scores.shape[1:], bool)), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def alone(tokens: list[int], stop_at_layer: int | None = None) -> dict[str, np.ndarray]:
    """Every hook point of one sequence by canonical name, and "output"."""
    seen: dict[str, np.ndarray] = {}

    def tap(name: str, tensors: list[np.ndarray]) -> list[np.ndarray]:
        seen[name] = tensors[0]
        return tensors

    seen["output"] = forward([np.array(tokens)], tap, stop_at_layer)[0]
    return seen


def catalogue() -> list[model_pb2.HookPoint]:
    return [
        model_pb2.HookPoint(
            name=hook.name,
            aliases=hook.aliases,
            layer=hook.layer,
            axes=[pb.Axis(name=n, kind=k, size=s) for n, k, s in hook.axes],
            dtype=hook.dtype,
            writable=hook.writable,
            read_only_reason="" if hook.writable else "token ids are the input",
        )
        for hook in HOOKS
    ]
