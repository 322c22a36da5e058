"""The logit lens: what the model would predict if it stopped at a layer.

The stream at each layer's input goes through the final norm, with a scale of its own, the
unembedding and the final softcap, so that the last entry is the model's own logits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hookwire import errors
from hookwire.cache import arrays, logits, norms, residual
from hookwire.cache.captured import Captured
from hookwire.cache.slices import Slice
from hookwire.errors import arguments
from hookwire.facts import dtypes, selection

ReturnType = Literal["logits", "log_probs", "probs"]
_COLUMNS = {"logits": "logit", "log_probs": "log_prob", "probs": "probability"}


@dataclass(frozen=True)
class LogitReadout:
    """The predictions of vectors, read through the unembedding.

    Attributes:
        values: [..., token]: of the targets, the `top_k`, the `vocab`, or of all tokens.
        return_type: "logits", "log_probs" or "probs".
        entropy: of the distribution over all tokens, in nats, [...].
        top_ids: with `top_k`: the tokens, [..., k].
        vocab_ids: with `vocab`: the tokens, [token].
        target_ids: with `targets`: [target], or [...] if each row has its own.
        target_ranks: how many tokens have a larger logit than the target, [..., target].
        per_row_targets: whether each row has its own target.
    """

    values: Any
    return_type: str
    entropy: Any
    top_ids: Any = None
    vocab_ids: Any = None
    target_ids: Any = None
    target_ranks: Any = None
    per_row_targets: bool = False

    def row_ids(self, index: tuple[int, ...]) -> Any:
        """The tokens along the last axis of one row of `values`; None for all."""
        if self.top_ids is not None:
            return self.top_ids[index]
        if self.target_ids is not None:
            return self.target_ids[index].reshape(1) if self.per_row_targets else self.target_ids
        return self.vocab_ids


@arguments.checked_methods("lens")
@dataclass(frozen=True)
class LogitLens:
    """The logit lens of a run. `cache.logit_lens` returns it.

    Attributes:
        readout: the values, ids and ranks; their first axis is the entry.
        labels: a label for each entry: "0_pre", "3_mid", "final_post".
        has_batch_dim: whether the second axis is the batch.
        target_names: for each target, the string that was given; None for an id.
    """

    readout: LogitReadout
    labels: list[str]
    has_batch_dim: bool
    target_names: list[str | None] | None = None

    @property
    def values(self) -> Any:
        """The values of the kept tokens, [entry, batch, pos, token]."""
        return self.readout.values

    def rank_trajectory(self, target: str | int | None = None) -> Any:
        """Returns the rank of a target at every entry; rank 0 is the most likely token.

        Args:
            target: one of the `targets` of the lens. Default: the only one.

        Returns:
            Ints [entry, batch, pos].

        Raises:
            ArgumentError: the lens does not have this target, or has several and none is given (it
                is a ValueError).
        """
        ranks, ids = self.readout.target_ranks, self.readout.target_ids
        if ranks is None:
            raise errors.ArgumentError(
                "this lens has no targets, and so no ranks: make it with logit_lens(targets=…)"
            )
        if self.readout.per_row_targets:
            if target is not None:
                raise errors.ArgumentError(
                    f"each row has its own target here: leave target={target!r} out"
                )
            return ranks[..., 0]
        names = self.target_names or [None] * len(ids)
        given = [int(i) if name is None else name for i, name in zip(ids, names, strict=True)]
        if target is None:
            if len(given) != 1:
                raise errors.ArgumentError(f"this lens has the targets {given}: name one of them")
            return ranks[..., 0]
        known: list[Any] = list(names) if isinstance(target, str) else [int(i) for i in ids]
        if target not in known:
            raise errors.ArgumentError(f"{target!r} is not one of the targets {given}")
        return ranks[..., known.index(target)]

    def top_tokens(self, tokenizer: Any) -> dict[str, Any]:
        """Returns the texts of the `top_k` tokens of every entry.

        Args:
            tokenizer: an object with `decode(ids)`, such as `model.tokenizer`.

        Returns:
            For each label, nested lists of strings, [batch, pos, k].

        Raises:
            ArgumentError: the lens was made without `top_k`.
            ArgumentTypeError: `tokenizer` has no `decode`.
        """
        if self.readout.top_ids is None:
            raise errors.ArgumentError(
                "this lens has no top tokens: make it with logit_lens(top_k=…)"
            )
        _check_tokenizer(tokenizer)
        ids = dtypes.to_numpy(self.readout.top_ids)
        return {label: _texts(ids[i], tokenizer) for i, label in enumerate(self.labels)}

    def to_dataframe(self, tokenizer: Any = None, top_k: int | None = None) -> Any:
        """Returns a pandas DataFrame with a line for each entry, row, position and token.

        Args:
            tokenizer: as in `top_tokens`, for the column `token_string`. Default: no such column.
            top_k: keep the `top_k` largest values of each position. Default: all.

        Returns:
            A DataFrame with the columns `layer`, `batch` and `pos` (unless an int sliced them
            away), `token_index`, `token_string`, and `logit`, `log_prob` or `probability`.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd  # type: ignore[import-untyped, unused-ignore]
        except ImportError:
            raise errors.MissingExtraError(
                "to_dataframe needs pandas, which is not installed: pip install pandas"
            ) from None
        if tokenizer is not None:
            _check_tokenizer(tokenizer)
        if top_k is not None:
            _at_least_one(top_k, "top_k")
        return pd.DataFrame(self._lines(tokenizer, top_k))

    def _lines(self, tokenizer: Any, top_k: int | None) -> Iterator[dict[str, Any]]:
        values = dtypes.to_numpy(self.values)
        axes = ("batch", "pos") if self.has_batch_dim else ("pos",)
        for at, label in enumerate(self.labels):
            for index in itertools.product(*map(range, values.shape[1:-1])):
                place = (at, *index)
                row, ids = values[place], self.readout.row_ids(place)
                ids = np.arange(len(row)) if ids is None else dtypes.to_numpy(ids)
                for i in np.argsort(-row, kind="stable")[:top_k]:
                    line: dict[str, Any] = {"layer": label, **dict(zip(axes, index, strict=False))}
                    line["token_index"] = int(ids[i])
                    if tokenizer is not None:
                        line["token_string"] = _texts(ids[i], tokenizer)
                    line[_COLUMNS[self.readout.return_type]] = float(row[i])
                    yield line


def _check_tokenizer(tokenizer: Any) -> None:
    """Refuses what cannot make text of ids.

    Raises:
        ArgumentTypeError: it has neither `decode` nor `to_string`.
    """
    if not callable(getattr(tokenizer, "decode", None) or getattr(tokenizer, "to_string", None)):
        raise errors.ArgumentTypeError(
            "tokenizer must have decode(ids), as model.tokenizer has, and "
            f"{errors.shown(tokenizer)} has not"
        )


def _at_least_one(value: Any, what: str) -> int:
    """A count.

    Raises:
        ArgumentTypeError: no int.
        ArgumentError: below 1.
    """
    number = selection.integer(value, what)
    if number < 1:
        raise errors.ArgumentError(f"{what} must be at least 1, not {number}")
    return number


def _texts(ids: Any, tokenizer: Any) -> Any:
    if ids.ndim:
        return [_texts(row, tokenizer) for row in ids]
    decode = getattr(tokenizer, "decode", None) or tokenizer.to_string
    try:
        return str(decode([int(ids)]))
    except errors.TokenOutOfRangeError:
        # Rows of the unembedding beyond the tokenizer's words.
        return f"[{int(ids)}]"


@dataclass(frozen=True)
class Selection:
    """Which tokens of a readout are kept; none of these: all."""

    vocab: Any = None
    targets: Any = None
    top_k: int | None = None

    def check(self, d_vocab: int) -> None:
        """Refuses more than one choice, and more tokens than there are.

        Raises:
            ArgumentError: either.
        """
        given = [name for name in ("vocab", "targets", "top_k") if getattr(self, name) is not None]
        if len(given) > 1:
            raise errors.ArgumentError(
                f"{' and '.join(given)} exclude each other: give at most one of vocab, targets and "
                "top_k"
            )
        if self.top_k is not None and _at_least_one(self.top_k, "top_k") > d_vocab:
            raise errors.ArgumentError(
                f"top_k must be in [1, {d_vocab}], the vocabulary, not {self.top_k}"
            )


def read(
    cache: Captured,
    vectors: Any,
    apply_ln: bool,
    chosen: Selection,
    per_row: bool,
    return_type: str,
    chunk_size: int,
) -> LogitReadout:
    """Vectors [..., d_model] through final norm, unembedding and softcap, some rows at a time."""
    lead = vectors.shape[:-1]
    flat = vectors.reshape(-1, vectors.shape[-1])
    # [d_vocab, d_model], made once for all chunks.
    unembed = arrays.for_products(arrays.matching(cache.weights.shared("unembed.weight"), flat))
    targets: Any = None
    if chosen.targets is not None:
        targets = arrays.indices(chosen.targets, flat)
        if per_row:
            padded = targets.reshape(*(1,) * (len(lead) - targets.ndim), *targets.shape)
            try:
                targets = arrays.broadcast(padded, lead)
            except errors.ValueShapeError:
                raise errors.ArgumentError(
                    f"targets of shape {list(targets.shape)} do not align, from the right, with "
                    f"the {list(lead[1:])} rows and positions that are read"
                ) from None
    rows = targets.reshape(-1, 1) if per_row else targets
    kept: dict[str, list[Any]] = {"values": [], "entropy": [], "ids": [], "ranks": []}
    for start in range(0, flat.shape[0], chunk_size):
        part = flat[start : start + chunk_size]
        if apply_ln:
            part = norms.apply_final_norm(cache, part)
        products = arrays.cast(arrays.einsum("nd,vd->nv", part, unembed), part)
        raw = _softcapped(products, cache)
        log_probs = arrays.log_softmax(raw)
        kept["entropy"].append(-(arrays.exp(log_probs) * log_probs).sum(-1))
        shown = raw
        if return_type != "logits":
            shown = log_probs if return_type == "log_probs" else arrays.exp(log_probs)
        if targets is not None:
            ids = rows[start : start + chunk_size] if per_row else rows.reshape(1, -1)
            ids = arrays.broadcast(ids, (part.shape[0], ids.shape[-1]))
            theirs = arrays.take(raw, ids)
            kept["ranks"].append((raw[:, None] > theirs[..., None]).sum(-1))
            kept["values"].append(arrays.take(shown, ids))
        elif chosen.top_k is not None:
            kept["ids"].append(arrays.top(raw, chosen.top_k))
            kept["values"].append(arrays.take(shown, kept["ids"][-1]))
        elif chosen.vocab is not None:
            kept["values"].append(shown[:, arrays.indices(chosen.vocab, flat)])
        else:
            kept["values"].append(shown)

    def whole(name: str, *rest: int) -> Any:
        parts = kept[name]
        return arrays.concatenate(parts).reshape(*lead, *rest) if parts else None

    return LogitReadout(
        values=whole("values", -1),
        return_type=return_type,
        entropy=whole("entropy"),
        top_ids=whole("ids", -1),
        vocab_ids=None if chosen.vocab is None else arrays.indices(chosen.vocab, flat),
        target_ids=targets,
        target_ranks=whole("ranks", -1),
        per_row_targets=per_row,
    )


def _softcapped(raw: Any, cache: Captured) -> Any:
    cap = cache.cfg.output_logits_soft_cap
    return raw if cap is None else arrays.times(arrays.tanh(arrays.times(raw, 1 / cap)), cap)


def _seen_through(lens: Callable[[Any, int], Any], entry: Any, index: int) -> Any:
    """An entry, [batch, pos, d_model], as a lens gives it back.

    Raises:
        ValueShapeError: it gives back another shape, or no tensor.
    """
    seen = lens(entry, index)
    if getattr(seen, "shape", None) != entry.shape:
        got = list(seen.shape) if hasattr(seen, "shape") else errors.shown(seen)
        raise errors.ValueShapeError(
            f"lens must return a tensor of its entry's shape, {list(entry.shape)}; for entry "
            f"{index} it returned {got}"
        )
    return seen


def _entries(layers: Any, count: int) -> list[int]:
    """The entries of a lens that a user asks for.

    Raises:
        ArgumentTypeError: no list of ints.
        ArgumentError: an entry that there is not, or none at all.
    """
    accepts = "a list of ints, or None"
    is_list = isinstance(layers, Iterable) and getattr(layers, "ndim", 1) == 1
    if not is_list or isinstance(layers, str):
        raise errors.ArgumentTypeError(f"layers must be {accepts}, not {errors.shown(layers)}")
    wanted = [selection.integer(layer, "layers", accepts) for layer in layers]
    outside = [layer for layer in wanted if not -count <= layer < count]
    if outside or not wanted:
        said = f"layers has {outside[0]}, and" if outside else "layers is empty, and"
        raise errors.ArgumentError(
            f"{said} the lens has {count} entries, 0 to {count - 1}: one for each layer's input, "
            "and the last for the model's own prediction"
        )
    return wanted


def logit_lens(
    cache: Captured,
    *,
    layers: Sequence[int] | None,
    incl_mid: bool,
    positions: Any,
    batch_slice: Any,
    lens: Callable[[Any, int], Any] | None,
    apply_ln: bool,
    vocab: Any,
    targets: Any,
    return_type: str,
    top_k: int | None,
    chunk_size: int,
) -> LogitLens:
    """See `ActivationCache.logit_lens`."""
    selection.one_of(return_type, tuple(_COLUMNS), "return_type")
    _at_least_one(chunk_size, "chunk_size")
    if lens is not None:
        arguments.check_callable(lens, "lens", "a function of an entry and its index", None, 0)
    per_row = getattr(targets, "ndim", 0) >= 1
    names = None
    if targets is not None and not per_row:
        listed = targets if isinstance(targets, (list, tuple)) else [targets]
        names = [target if isinstance(target, str) else None for target in listed]
        targets = listed
    chosen = Selection(
        None if vocab is None else logits.token_ids(cache, vocab, "vocab").reshape(-1),
        None if targets is None else logits.token_ids(cache, targets, "targets"),
        top_k,
    )
    chosen.check(cache.cfg.d_vocab)
    stack, labels = residual.accumulated(
        cache, cache.cfg.n_layers, incl_mid, False, Slice(positions, "positions")
    )
    if layers is not None:
        wanted = _entries(layers, len(labels))
        labels = [labels[at] for at in wanted]
        stack = stack[wanted]
    rows = Slice(batch_slice, "batch_slice")
    if cache.has_batch_dim:
        stack = rows.apply(stack, dim=1)
    elif rows.mode != "identity":
        raise errors.UnsupportedError("batch_slice needs a cache that still has its batch")
    if lens is not None:
        stack = arrays.stack([_seen_through(lens, stack[i], i) for i in range(len(labels))])
    readout = read(cache, stack, apply_ln, chosen, per_row, return_type, chunk_size)
    return LogitLens(readout, labels, cache.has_batch_dim and rows.mode != "int", names)
