"""The logit lens, computed where the weights are.

The residual stream after each layer goes through the model's own final norm, unembedding and
softcap: it is written into `ln_final.hook_in` of runs whose logits are then read. A run has a row
for each layer, and a row's logits are those of its layer. Nothing but the stream and the logits
travels; what the blocks compute in these runs is not read.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hookwire import errors, ops
from hookwire.api.blocking.model import RemoteModel
from hookwire.facts.dtypes import Array
from hookwire.plot.words import top_ids
from hookwire.recipes.steps import Steps, taken

# Logits of one run: more at once would not be faster.
_LOGITS_BYTES = 64 * 1024 * 1024
# Of a request message, besides values.
_SPARE_BYTES = 64 * 1024


@dataclass(frozen=True)
class LogitLens:
    """What the model would answer if it ended after each layer.

    Attributes:
        layers: the layers.
        positions: the positions.
        ids: the most likely token, [layer, pos].
        probabilities: how likely it is, [layer, pos].
    """

    layers: list[int]
    positions: list[int]
    ids: Array
    probabilities: Array


@dataclass(frozen=True)
class Piece:
    """What one run computes: some layers, at some positions (both as indices)."""

    layers: range
    positions: range


def logit_lens(
    model: RemoteModel,
    tokens: Sequence[int],
    layers: Sequence[int],
    positions: Sequence[int],
    steps: Steps = taken,
) -> LogitLens:
    """Computes the logit lens.

    Args:
        model: the model, with NumPy tensors.
        tokens: the prompt.
        layers: which layers.
        positions: which positions.
        steps: goes over the runs.
    """
    shape = (len(layers), len(positions))
    ids, probabilities = np.zeros(shape, np.int64), np.zeros(shape)
    last = model.cfg.n_layers - 1
    names = {layer: f"blocks.{layer}.hook_resid_post" for layer in layers}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.ResultSizeWarning)
        # The model's own logits are the lens of its last layer.
        logits, cache = model.run_with_cache(
            list(tokens),
            names_filter=[name for layer, name in names.items() if layer != last],
            pos_slice=list(positions),
            return_type="logits" if last in names else None,
            logits_pos=list(positions) if last in names else None,
        )
    if last in names:
        at = layers.index(last)
        ids[at], probabilities[at] = top_ids(logits[0])
    rest = [layer for layer in layers if layer != last]
    if rest:
        stream = np.stack([cache[names[layer]][0] for layer in rest])  # [layer, pos, d_model]
        rows = [layers.index(layer) for layer in rest]
        for piece in steps(pieces(model, stream), "logit lens"):
            part = stream[piece.layers.start : piece.layers.stop, piece.positions]
            found = top_ids(
                _unembed(model, part, [tokens[positions[at]] for at in piece.positions])
            )
            place = np.ix_([rows[at] for at in piece.layers], piece.positions)
            ids[place], probabilities[place] = found
    return LogitLens(list(layers), list(positions), ids, probabilities)


def _unembed(model: RemoteModel, stream: Array, tokens: Sequence[int]) -> Array:
    """Logits [row, pos, d_vocab] of a residual stream [row, pos, d_model].

    The tokens, as many as positions, only make room for it.
    """
    write = ("ln_final.hook_in", ops.set(stream))
    rows = [list(tokens)] * len(stream)
    logits: Array = model.run_with_hooks(rows, fwd_hooks=[write], allow_non_finite=True)
    return logits


def pieces(model: RemoteModel, stream: Array) -> list[Piece]:
    """Divides a residual stream [layer, pos, d_model] into runs that the server takes."""
    n_layers, n_pos, d_model = stream.shape
    server = model.server
    limits = [_LOGITS_BYTES // (model.cfg.d_vocab * stream.itemsize)]
    if server.max_request_bytes:
        limits.append((server.max_request_bytes - _SPARE_BYTES) // (d_model * stream.itemsize))
    if server.max_tokens:
        limits.append(server.max_tokens)
    cells = max(1, min(limits))
    wide = min(n_pos, cells)
    high = max(1, cells // n_pos)
    return [
        Piece(range(row, min(row + high, n_layers)), range(at, min(at + wide, n_pos)))
        for row in range(0, n_layers, high)
        for at in range(0, n_pos, wide)
    ]
