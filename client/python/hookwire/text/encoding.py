"""What a call of the tokenizer asks for, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hookwire import errors
from hookwire.facts import dtypes, selection

_PADDING = ("longest", "max_length", "do_not_pad")
_TRUNCATION = (None, "longest_first", "only_first", "do_not_truncate")
# As Transformers: a tokenizer_config.json without a limit has none.
NO_LIMIT = int(1e30)
# What is longer than this is no limit.
LARGE = int(1e20)


@dataclass(frozen=True)
class Lengths:
    """How the rows of a batch get their lengths.

    Attributes:
        pads: whether shorter rows are padded.
        pad_to: to so many tokens; None: to the longest row.
        truncate_to: longer rows are cut to so many tokens; None: none is.
    """

    pads: bool = False
    pad_to: int | None = None
    truncate_to: int | None = None

    @classmethod
    def of(
        cls,
        padding: bool | str,
        truncation: bool | str | None,
        max_length: int | None,
        model_max_length: int,
    ) -> Lengths:
        """The lengths that a caller asks for, with Transformers' defaults.

        Args:
            padding: True or "longest", "max_length", or False or "do_not_pad".
            truncation: True, "longest_first" or "only_first", which are one thing for single texts;
                False, None or "do_not_truncate".
            max_length: for both. Alone, without the other two, it truncates.
            model_max_length: in place of `max_length`, where that is None.

        Raises:
            ArgumentError: another value.
        """
        if truncation is None and padding is False and max_length is not None:
            truncation = True
        named = {True: "longest", False: "do_not_pad"}
        padding = named[padding] if isinstance(padding, bool) else padding
        selection.one_of(padding, _PADDING, "padding")
        if max_length is not None:
            max_length = selection.integer(max_length, "max_length", "a number of tokens")
            if max_length < 0:
                raise errors.ArgumentError(f"max_length must not be negative, not {max_length}")
        named = {True: "longest_first", False: "do_not_truncate"}
        truncation = named[truncation] if isinstance(truncation, bool) else truncation
        selection.one_of(truncation, _TRUNCATION, "truncation")
        truncates = truncation not in (None, "do_not_truncate")
        if padding == "longest" and max_length is not None and not truncates:
            errors.warn(
                "max_length is ignored with padding=True and no truncation: "
                'padding="max_length" pads to it, truncation=True cuts to it',
                errors.HookwireWarning,
            )
        limit = max_length
        if limit is None and model_max_length <= LARGE:
            limit = model_max_length
        pads = padding == "longest" or (padding == "max_length" and limit is not None)
        return cls(pads, limit if padding == "max_length" else None, limit if truncates else None)


class BatchEncoding(dict[str, Any]):
    """What a call of the tokenizer answers: "input_ids", "attention_mask" and what was asked for.

    Values are also attributes: `answer.input_ids`.
    """

    def __init__(self, values: dict[str, Any], encodings: Sequence[Any]) -> None:
        """Args:
        values: the answer.
        encodings: a `tokenizers.Encoding` for each row.
        """
        super().__init__(values)
        self.encodings = list(encodings)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise errors.NoAttributeError(
                f"the tokenizer's answer has no {name!r}: it has {', '.join(self)}"
            ) from None

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The words of the vocabulary in a row."""
        return list(self.encodings[batch_index].tokens)

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Of each token of a row, which word of the text it is in; None for special tokens."""
        return list(self.encodings[batch_index].word_ids)

    def to(self, device: Any) -> BatchEncoding:
        """Moves torch tensors to a device; this object."""
        for name, value in self.items():
            if dtypes.is_torch(value):
                self[name] = value.to(device)
        return self


def tensor(rows: Any, kind: str, what: str) -> Any:
    """Rows of numbers as a tensor.

    Args:
        rows: lists of numbers.
        kind: "pt" for torch, "np" for NumPy.
        what: what they are, for the message.

    Raises:
        ArgumentError: rows of different lengths.
    """
    if len({len(row) for row in rows}) > 1:
        raise errors.ArgumentError(
            f"{what} of different lengths do not fit into one tensor: padding=True pads them"
        )
    array = np.asarray(rows, dtype=np.int64)
    return dtypes.to_torch(array) if kind == "pt" else array
