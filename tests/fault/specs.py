"""Runs on the toy checkpoint, encoded: one for each thing that can happen to a run."""

from __future__ import annotations

import random

import numpy as np
from hookwire._proto import run_pb2, tensor_pb2

# The toy's.
N_CTX, D_MODEL, N_HEADS, D_VOCAB, N_LAYERS = 128, 64, 4, 59, 6
STREAM = "blocks.2.hook_out"
BOS = 2
# A message of this size is written while the reader has not taken the one before: a slow reader is
# slow from the first hundred kilobytes on.
_MESSAGE_BYTES = 64 << 10


def prompt(length: int, seed: int) -> list[int]:
    """`<bos>` and random words."""
    words = random.Random(seed)
    return [BOS, *(words.randrange(4, D_VOCAB) for _ in range(length - 1))]


def _spec(lengths: list[int], seed: int = 0) -> run_pb2.RunSpec:
    spec = run_pb2.RunSpec(max_message_bytes=_MESSAGE_BYTES)
    for number, length in enumerate(lengths):
        spec.sequences.add(token_ids=prompt(length, seed * 1000 + number))
    return spec


def small(seed: int = 0, length: int = 8) -> bytes:
    """The output of a layer: a few kilobytes."""
    spec = _spec([length], seed)
    spec.captures.add(hook=STREAM)
    return spec.SerializeToString()


def everything(seed: int = 0, length: int = 24) -> bytes:
    """Every hook point of a prompt, and its logits: 1.6 MiB."""
    spec = _spec([length], seed)
    spec.captures.add(hook="**")
    spec.outputs.logits.SetInParent()
    return spec.SerializeToString()


def large(sequences: int = 8) -> bytes:
    """Every hook point of long prompts, 15.7 MiB each: no buffer of these tests takes it whole."""
    spec = _spec([N_CTX] * sequences)
    spec.captures.add(hook="**")
    return spec.SerializeToString()


def long(sequences: int = 500) -> bytes:
    """The last position after the last layer: much to compute, next to nothing to send."""
    spec = _spec([N_CTX] * sequences)
    capture = spec.captures.add(hook=f"blocks.{N_LAYERS - 1}.hook_out")
    capture.positions.indices.values.append(-1)
    return spec.SerializeToString()


def interactive(seed: int = 0) -> bytes:
    """A callback at a layer's output, which is captured too, and the last position's logits."""
    spec = _spec([8], seed)
    spec.captures.add(hook=STREAM)
    spec.interventions.add(hook=STREAM).callback.SetInParent()
    spec.outputs.logits.positions.indices.values.append(-1)
    return spec.SerializeToString()


def uploading(values: int = 32) -> tuple[bytes, tuple[bytes, ...]]:
    """A run whose attention patterns come as uploads of 512 KiB each, and these."""
    spec = _spec([N_CTX])
    spec.captures.add(hook=STREAM)
    shape = (N_HEADS, N_CTX, N_CTX)
    uploads = []
    for number in range(values):
        value = spec.interventions.add(hook="blocks.1.attn.hook_pattern").set.value
        value.upload.dtype = tensor_pb2.DTYPE_FLOAT64
        value.upload.shape.extend(shape)
        value.upload.upload = number
        uploads.append(np.full(shape, 1 / N_CTX + number).tobytes())
    return spec.SerializeToString(), tuple(uploads)
