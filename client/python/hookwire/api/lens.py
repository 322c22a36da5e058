"""The logit lens of one prompt, computed where the weights are.

The residual stream after each layer goes through the model's own final norm, unembedding and
softcap: the client writes it into `ln_final.hook_in` of runs, and reads their logits. A run has a
row for each layer, and a row's logits are those of its layer. Only the stream and the logits are
sent; nobody reads what the blocks compute in these runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hookwire import ops
from hookwire.api.session import Session
from hookwire.facts import dtypes, selection
from hookwire.facts.dtypes import Array
from hookwire.facts.logits import top_ids

# Logits of one run: more at once would not be faster.
_LOGITS_BYTES = 64 * 1024 * 1024
# Of a request message, besides values.
_SPARE_BYTES = 64 * 1024


@dataclass(frozen=True)
class LayerAnswers:
    """What a model would answer if it ended after each layer.

    Attributes:
        layers: the numbers of the layers, in the order of the first axis.
        positions: the positions, in the order of the second axis.
        ids: the most likely token, int64 [layer, pos].
        probabilities: its probability, float64 [layer, pos]; NaN where the logits are NaN.
    """

    layers: list[int]
    positions: list[int]
    ids: Array
    probabilities: Array


@dataclass(frozen=True)
class Piece:
    """What one run computes: some layers at some positions. Both are indices of the stream."""

    layers: range
    positions: range


class Lens:
    """The runs of a lens: first one that captures, then those that unembed.

    Args:
        model: the model.
        tokens: the prompt.
        layers: which layers, in any form of an index; None: all.
        pos: which positions, likewise.

    Raises:
        PositionOutOfRangeError: no such layer or position.
    """

    def __init__(self, model: Session, tokens: Sequence[int], layers: Any, pos: Any) -> None:
        n_layers = model.cfg.n_layers
        wanted = selection.clipped(layers, n_layers, "layers")
        places = selection.clipped(pos, len(tokens), "pos")
        self._model = model
        self._tokens = list(tokens)
        self._layers = list(range(n_layers)) if wanted is None else wanted
        self._positions = list(range(len(tokens))) if places is None else places
        shape = (len(self._layers), len(self._positions))
        self._ids, self._probabilities = np.zeros(shape, np.int64), np.zeros(shape)
        # The model's own logits are the lens of its last layer.
        self._last = n_layers - 1
        self._rest = [layer for layer in self._layers if layer != self._last]
        self._stream: Array = np.empty(0)

    def first(self) -> dict[str, Any]:
        """The arguments of `run_with_cache` for the first run."""
        has_last = self._last in self._layers
        return {
            "input": self._tokens,
            "names_filter": [_name(layer) for layer in self._rest],
            "pos_slice": self._positions,
            "return_type": "logits" if has_last else None,
            "logits_pos": self._positions if has_last else None,
        }

    def begin(self, logits: Any, cache: Any) -> list[Piece]:
        """Reads what the first run returned, and returns the other runs."""
        if logits is not None:
            at = self._layers.index(self._last)
            self._ids[at], self._probabilities[at] = top_ids(logits[0])
        if not self._rest:
            return []
        self._stream = np.stack(  # [layer, pos, d_model]
            [dtypes.to_numpy(cache[_name(layer)][0]) for layer in self._rest]
        )
        return pieces(self._model, self._stream)

    def run(self, piece: Piece) -> dict[str, Any]:
        """The arguments of `run_with_hooks` for one of the other runs."""
        part = self._stream[piece.layers.start : piece.layers.stop, piece.positions]
        tokens = [self._tokens[self._positions[at]] for at in piece.positions]
        return unembedding(part, tokens)

    def take(self, piece: Piece, logits: Any) -> None:
        """Reads what that run returned."""
        rows = [self._layers.index(self._rest[at]) for at in piece.layers]
        place = np.ix_(rows, piece.positions)
        self._ids[place], self._probabilities[place] = top_ids(logits)

    def result(self) -> LayerAnswers:
        """What has been computed."""
        return LayerAnswers(self._layers, self._positions, self._ids, self._probabilities)


def unembedding(stream: Array, tokens: Sequence[int]) -> dict[str, Any]:
    """The arguments of `run_with_hooks` for the logits of a residual stream [row, pos, d_model].

    The tokens, as many as positions, only make room for it.
    """
    return {
        "input": [list(tokens)] * len(stream),
        "fwd_hooks": [("ln_final.hook_in", ops.set(stream))],
        "allow_non_finite": True,
    }


def _name(layer: int) -> str:
    return f"blocks.{layer}.hook_resid_post"


def pieces(model: Session, stream: Array) -> list[Piece]:
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
