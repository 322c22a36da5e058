"""All errors and warnings.

Every error of this package is a `HookwireError`. Those of the server have the gRPC code,
the reason (a name of `ErrorReason` in proto/hookwire/v1/service.proto, without its prefix), the
metadata that goes with it, and the request field that is to blame. Each reason has one class, in
`BY_REASON`; many are also the Python exception that a caller would expect, such as `KeyError` for a
hook point that does not exist.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import grpc

from hookwire.errors.values import is_set as is_set
from hookwire.errors.values import shown as shown


def printable(text: str) -> str:
    """A text that can be printed: half characters of UTF-16 in it are escaped, as in repr()."""
    return text.encode("utf-8", "backslashreplace").decode()


class HookwireError(Exception):
    """The base of all errors.

    Attributes:
        message: the sentence.
        reason: a name of `ErrorReason`, such as "HOOK_NOT_FOUND"; empty where there is none.
        code: the gRPC status code; None for errors found in the client.
        metadata: what the reason brings along, such as "hook" and "suggestion"; under
            "server_message" what the server said, where this package says it in its own words.
        field: the request field to blame, such as "spec.captures[0].hook"; None where unknown.
    """

    default_reason: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        code: grpc.StatusCode | None = None,
        metadata: Mapping[str, str] | None = None,
        field: str | None = None,
    ) -> None:
        self.set_message(message)
        self.reason = self.default_reason if reason is None else reason
        self.code = code
        self.metadata = dict(metadata or {})
        self.field = field

    def __str__(self) -> str:
        return self.message

    def set_message(self, message: str) -> None:
        """Replaces the message."""
        self.message = printable(message)
        self.args = (self.message,)

    def rename(self, name: str, other: str) -> None:
        """Says another name of the same hook point; "server_message" keeps the sentence as it was.

        Args:
            name: a hook point's canonical name.
            other: the name by which the user knows it.
        """
        said = re.sub(rf"(?<![\w.]){re.escape(name)}(?!\w|\.\w)", lambda _: other, self.message)
        if said != self.message:
            self.metadata.setdefault("server_message", self.message)
            self.set_message(said)

    @property
    def hook(self) -> str | None:
        """The hook point in question."""
        return self.metadata.get("hook")

    @property
    def suggestion(self) -> str | None:
        """The nearest right name, or what to do instead."""
        return self.metadata.get("suggestion")

    def _number(self, key: str) -> int | None:
        text = self.metadata.get(key, "")
        return int(text) if text.isdigit() else None


class HookNotFoundError(HookwireError, KeyError):
    """No such hook point on any Gemma 4."""

    default_reason = "HOOK_NOT_FOUND"


class AbsentHookError(HookwireError, KeyError):
    """A hook point that other layers or models have, but not this one; the message says why."""

    default_reason = "HOOK_ABSENT"


class GlobNoMatchError(HookwireError, KeyError):
    """A filter that matches no hook point."""

    default_reason = "GLOB_NO_MATCH"


class ReadOnlyHookError(HookwireError, ValueError):
    """A write to a hook point that can only be read."""

    default_reason = "HOOK_READ_ONLY"


class ArgumentError(HookwireError, ValueError):
    """An argument has a value that it does not accept, or that contradicts another argument."""


class ArgumentTypeError(HookwireError, TypeError):
    """An argument has a type that it does not accept."""


class NoSequencesError(HookwireError, ValueError):
    """An input without any sequence."""

    default_reason = "NO_SEQUENCES"


class EmptySequenceError(HookwireError, ValueError):
    """A sequence without any token."""

    default_reason = "SEQUENCE_EMPTY"


class NothingToPredictError(HookwireError, ValueError):
    """A loss, or log-probabilities of next tokens, of rows that have no next token."""


class _OverLimitError(HookwireError):
    """More than the server gives."""

    @property
    def limit(self) -> int | None:
        """The most that is allowed."""
        return self._number("limit")


class _TooManyBytesError(_OverLimitError):
    """More bytes than the server gives."""

    @property
    def bytes(self) -> int | None:
        """The bytes that it would have: exact for a result, an upper bound for a pass."""
        return self._number("bytes")


class SequenceTooLongError(_OverLimitError, ValueError):
    """More tokens than `cfg.n_ctx`."""

    default_reason = "SEQUENCE_TOO_LONG"

    @property
    def tokens(self) -> int | None:
        """Tokens of the sequence."""
        return self._number("tokens")


class TokenOutOfRangeError(HookwireError, IndexError, ValueError):
    """A token id that the vocabulary does not have."""

    default_reason = "TOKEN_OUT_OF_RANGE"


class RowOutOfRangeError(HookwireError, IndexError):
    """A row that the batch does not have."""

    default_reason = "SEQUENCE_OUT_OF_RANGE"


class PositionOutOfRangeError(HookwireError, IndexError):
    """A position outside the sequence, or on its padding."""

    default_reason = "POSITION_OUT_OF_RANGE"


class HeadOutOfRangeError(HookwireError, IndexError):
    """A head that the hook point does not have."""

    default_reason = "HEAD_OUT_OF_RANGE"


class NoHeadsError(HookwireError, ValueError):
    """Heads chosen at a hook point that has none."""

    default_reason = "NO_HEADS"


class FeatureOutOfRangeError(HookwireError, IndexError):
    """An index outside the last axis."""

    default_reason = "FEATURE_OUT_OF_RANGE"


class SliceOutOfRangeError(HookwireError, IndexError):
    """A slice of a cache's tensors that is outside of their axis."""


class NoSuchAxisError(HookwireError, ValueError):
    """A selection along an axis that the hook point does not have."""

    default_reason = "NO_SUCH_AXIS"


class BadSelectionError(HookwireError, ValueError):
    """A selection that is empty, impossible, or names an index twice."""

    default_reason = "BAD_SELECTION"


class ValueShapeError(HookwireError, ValueError):
    """A value that does not broadcast to the selected part of the hook point."""

    default_reason = "VALUE_SHAPE"


class ValueDtypeError(HookwireError, TypeError):
    """A value that is not a floating-point number."""

    default_reason = "VALUE_DTYPE"


class ValueNotFiniteError(HookwireError, ValueError):
    """NaN or infinity in a value, without `allow_non_finite=True`."""

    default_reason = "VALUE_NOT_FINITE"


class NeverFiresError(HookwireError, ValueError):
    """A request for something after the end of the pass."""

    default_reason = "NEVER_FIRES"


class StopOutOfRangeError(HookwireError, IndexError):
    """`stop_at_layer` or `start_at_layer` names no layer."""

    default_reason = "STOP_OUT_OF_RANGE"


class ResultTooLargeError(_TooManyBytesError):
    """A result over the limit. Nothing was computed."""

    default_reason = "RESULT_TOO_LARGE"


class PassTooLargeError(_TooManyBytesError):
    """A forward pass that would need more memory than the server allows. Nothing was computed.

    Attention scores and patterns grow with the square of a sequence's length.
    """

    default_reason = "PASS_TOO_LARGE"

    @property
    def tokens(self) -> int | None:
        """The greatest length of its sequences that would fit; 0 where none would."""
        return self._number("tokens")


class TooManyTokensError(HookwireError, ValueError):
    """More tokens in one run than the server takes."""

    default_reason = "TOO_MANY_TOKENS"


class TooManyTensorsError(HookwireError, ValueError):
    """More tensors in one run than the server sends."""

    default_reason = "TOO_MANY_TENSORS"


class UnknownFieldError(HookwireError):
    """The server does not know a field of the request: it is older than this client."""

    default_reason = "UNKNOWN_FIELD"


class BadFieldError(HookwireError, ValueError):
    """A field of the request has a value that the server does not know."""

    default_reason = "BAD_FIELD"


class MalformedRequestError(HookwireError):
    """The server could not read the request."""

    default_reason = "MALFORMED_REQUEST"


class NoTokenizerError(HookwireError):
    """The checkpoint has no tokenizer, so the input must be token ids."""

    default_reason = "NO_TOKENIZER"


class WeightNotFoundError(HookwireError, KeyError):
    """No such parameter on any Gemma 4."""

    default_reason = "WEIGHT_NOT_FOUND"


class AbsentWeightError(HookwireError, KeyError):
    """A parameter that other layers or models have, but not this one; the message says why."""

    default_reason = "WEIGHT_ABSENT"


class WeightRowError(HookwireError, IndexError):
    """A row that a parameter does not have."""

    default_reason = "ROW_OUT_OF_RANGE"


class WeightsNotServedError(HookwireError, PermissionError):
    """The server does not send its weights (`--serve-weights false`)."""

    default_reason = "WEIGHTS_NOT_SERVED"


class LayerOutOfRangeError(HookwireError, IndexError, ValueError):
    """A layer that the model does not have."""


class LayersDifferError(HookwireError, ValueError):
    """Tensors that differ from layer to layer cannot be stacked into one."""


class DecompositionError(HookwireError, ValueError):
    """Parts of the residual stream that do not sum to it."""


class LoadChangedError(HookwireError):
    """The server has loaded another model, or has other settings, than the request expects.

    That of a model is the load that it was connected to: nothing was computed, and
    `model.reconnect()` takes what the server holds now. That of a cache is the load that made it:
    its tensors and the weights of another checkpoint do not belong together.
    """

    default_reason = "LOAD_CHANGED"


class ClosedError(HookwireError, ValueError):
    """A call on a connection that was closed with `close()`. `reconnect()` opens it again."""


class ForkedError(HookwireError, RuntimeError):
    """Something of a parent process that its child cannot use; the message says what."""


class UnavailableError(HookwireError, ConnectionError):
    """No server answers at the address, or the connection was lost."""


class ShuttingDownError(UnavailableError):
    """The server is shutting down."""

    default_reason = "SHUTTING_DOWN"


class ServerOutOfMemoryError(HookwireError):
    """The server ran out of memory."""

    default_reason = "OUT_OF_MEMORY"


class InternalServerError(HookwireError):
    """A fault of the server."""

    default_reason = "INTERNAL"


class QueueFullError(HookwireError):
    """Too many runs are in the queue, of all clients or of this one; try again later."""

    default_reason = "QUEUE_FULL"


class QueueTimeoutError(HookwireError):
    """The run was in the queue for longer than the server allows; try again later."""

    default_reason = "QUEUE_TIMEOUT"


class WeightsChangedError(HookwireError):
    """The weight files have changed since the server loaded them: restart the server."""

    default_reason = "WEIGHTS_CHANGED"


class DeadlineError(HookwireError, TimeoutError):
    """The call took longer than its `timeout`."""


class HookTimeoutError(DeadlineError):
    """The server ended a run whose function took long, because another run needed its slot."""

    default_reason = "HOOK_TIMEOUT"


class ReaderStalledError(DeadlineError):
    """The server ended the run because this client read nothing for too long."""

    default_reason = "READER_STALLED"


class UnexpectedMessageError(HookwireError):
    """This client sent a message that does not belong into the run."""

    default_reason = "UNEXPECTED_MESSAGE"


class ValueTooLargeError(HookwireError, ValueError):
    """The values of one run are larger than the server accepts."""

    default_reason = "VALUE_TOO_LARGE"


class RequestMemoryFullError(_TooManyBytesError):
    """The server has no more memory for requests; try again later, or send less."""

    default_reason = "REQUEST_MEMORY_FULL"


class SenderStalledError(DeadlineError):
    """The server ended the call because this client sent nothing for too long."""

    default_reason = "SENDER_STALLED"


class TooManyEntriesError(_OverLimitError, ValueError):
    """More captures or changes than one run may have."""

    default_reason = "TOO_MANY_ENTRIES"


class TooManyCallsError(_OverLimitError):
    """This client has too many calls open; try again later."""

    default_reason = "TOO_MANY_CALLS"


class CancelledError(HookwireError):
    """The call was cancelled."""

    default_reason = "CANCELLED"


class IncompleteResultError(HookwireError):
    """The answer is incomplete or contradicts itself. Nothing of it is returned."""


class RequestTooLargeError(HookwireError, ValueError):
    """A request over the server's `max_request_bytes`. It was not sent."""


class MaskError(HookwireError, ValueError):
    """An attention mask that masks more than padding on the left or the right."""


class TokensNeededError(HookwireError, ValueError):
    """A run that starts at a layer also needs the tokens; the message says what for."""


class NotASingleTokenError(HookwireError, AssertionError):
    """A string that is not exactly one token, or that the vocabulary lacks."""


class UnknownWordError(HookwireError, ValueError):
    """A text with a word that the vocabulary lacks, and a tokenizer without an unknown token."""


class ChatTemplateError(HookwireError, ValueError):
    """A chat template that is missing, wrong, or that refuses these messages."""


class MissingExtraError(HookwireError, ImportError):
    """An optional library is not installed; the message says how to install it."""


class DaemonError(HookwireError, RuntimeError):
    """A daemon that `serve` was to start is missing, did not start, or ended by itself."""


class FileError(HookwireError, OSError, ValueError):
    """A file that cannot be read or written, or that holds something else."""


class NotInTokenizerError(HookwireError, AttributeError, NotImplementedError):
    """A feature of Hugging Face's tokenizers that this one lacks; it says what to use instead."""


class UnsupportedError(HookwireError, NotImplementedError):
    """A feature of TransformerLens that Hookwire does not have, or not yet."""


class NotHereError(UnsupportedError, AttributeError):
    """An attribute of TransformerLens's model that a remote model lacks; it says why."""


class ReadOnlyConfigError(UnsupportedError, AttributeError):
    """An attempt to change a setting that belongs to the server."""


class NoAttributeError(HookwireError, AttributeError):
    """An attribute that neither Hookwire nor TransformerLens has."""


class NoModulesError(HookwireError, AttributeError, ValueError):
    """An attempt to use the modules of a model that is on a server.

    An AttributeError, as of whatever is not there; and a ValueError, with which TransformerLens's
    direct path patching refuses a Gemma 4.
    """


class HookwireWarning(UserWarning):
    """The base of all warnings."""


class ResultSizeWarning(HookwireWarning):
    """A large result is about to be sent."""


class NonFiniteWarning(HookwireWarning):
    """NaN or infinity in what was captured or returned."""


class SkippedWarning(HookwireWarning):
    """Names that were left out, because this model does not have them."""


class PaddingWarning(HookwireWarning):
    """Token ids that look like padding, without a mask."""


class NothingToPredictWarning(HookwireWarning):
    """Rows of a batch that are too short to have a loss, beside others that have one."""


class TruncatedWarning(HookwireWarning):
    """A text with more tokens than `cfg.n_ctx`: the model sees a part of it."""


class UnknownWordsWarning(HookwireWarning):
    """A text with words that the vocabulary lacks: the model sees the unknown token instead."""


def warn(message: str, category: type[HookwireWarning]) -> None:
    """Warns at the line outside this package that led here."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__")):
        level, frame = level + 1, frame.f_back
    warnings.warn(printable(message), category, stacklevel=level)


def _is_ours(module: Any) -> bool:
    """Whether a module is of this package, rather than of a user whose name begins like ours."""
    return str(module).partition(".")[0] == "hookwire"


def _subclasses(cls: type[HookwireError]) -> list[type[HookwireError]]:
    return [cls, *(deep for sub in cls.__subclasses__() for deep in _subclasses(sub))]


BY_REASON: dict[str, type[HookwireError]] = {
    cls.__dict__["default_reason"]: cls
    for cls in _subclasses(HookwireError)
    if cls.__dict__.get("default_reason")
}
"""One class for each name of `ErrorReason`."""

__all__ = sorted(
    name for name, value in list(globals().items())
    if isinstance(value, type) and issubclass(value, (HookwireError, HookwireWarning))
    and not name.startswith("_")
)  # fmt: skip
