"""What a run returns besides its cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hookwire.ask.inputs import Batch
from hookwire.ask.request import Request
from hookwire.facts.dtypes import Array


def output(request: Request, arrays: dict[str, Array], tensor: Callable[[Array], Any]) -> Any:
    """What the run returns besides its cache.

    Args:
        request: the run.
        arrays: the outputs, by name.
        tensor: makes what users see out of an array.
    """
    ask = request.ask
    if "residual" in arrays:
        return tensor(arrays["residual"])
    if ask.return_type is None:
        return None
    logits = tensor(arrays["logits"]) if "logits" in arrays else None
    if ask.return_type == "logits":
        return logits
    loss = tensor(_loss(arrays["log_probs"], request.batch, ask.loss_per_token))
    return loss if ask.return_type == "loss" else (logits, loss)


def _loss(log_probs: Array, batch: Batch, per_token: bool) -> Array:
    """Cross entropy of the next tokens: [batch, pos - 1], or the mean over the real ones."""
    if per_token:
        # 0 - x rather than -x: padding stays 0, not -0.
        per: Array = np.float32(0) - log_probs
        return per
    count = sum(len(row) - 1 for row in batch.rows)
    mean: Array = np.asarray(-log_probs.sum(dtype=np.float32) / np.float32(count))
    return mean
