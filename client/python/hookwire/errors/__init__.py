"""All errors and warnings.

Every error of this package is a `HookwireError`. An error that the server sends has the gRPC code,
the reason (a name of `ErrorReason` in proto/hookwire/v1/service.proto, without its prefix), the
reason's metadata, and the request field that caused it. `BY_REASON` has the class of each reason.
Many classes are also the Python exception that a caller would expect, such as `KeyError` for a hook
point that does not exist.
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
    """Returns a text that can be printed: lone UTF-16 surrogates are escaped, as in repr()."""
    return text.encode("utf-8", "backslashreplace").decode()


class HookwireError(Exception):
    """The base of all errors.

    Attributes:
        message: what is wrong, in words.
        reason: a name of `ErrorReason`, such as "HOOK_NOT_FOUND"; empty if the error has none.
        code: the gRPC status code; None for errors that the client found.
        metadata: the details of the reason, such as "hook" and "suggestion". If this package has
            replaced the server's message by its own, "server_message" has the server's.
        field: the request field that caused the error, such as "spec.captures[0].hook"; None if
            unknown.
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
        """Replaces the message.

        Args:
            message: the new one. Characters that cannot be printed are escaped.
        """
        self.message = printable(message)
        self.args = (self.message,)

    def rename(self, name: str, other: str) -> None:
        """Replaces a hook point's name in the message by another of its names.

        `metadata["server_message"]` then has the message as it was.

        Args:
            name: the hook point's canonical name.
            other: the name by which the user knows it.
        """
        said = re.sub(rf"(?<![\w.]){re.escape(name)}(?!\w|\.\w)", lambda _: other, self.message)
        if said != self.message:
            self.metadata.setdefault("server_message", self.message)
            self.set_message(said)

    @property
    def hook(self) -> str | None:
        """The name of the hook point that caused the error; None if it has none."""
        return self.metadata.get("hook")

    @property
    def suggestion(self) -> str | None:
        """The nearest right name, or what to do instead; None if the server suggests nothing."""
        return self.metadata.get("suggestion")

    def _number(self, key: str) -> int | None:
        text = self.metadata.get(key, "")
        return int(text) if text.isdigit() else None


class HookNotFoundError(HookwireError, KeyError):
    """There is no hook point, or no captured tensor, of this name."""

    default_reason = "HOOK_NOT_FOUND"


class AbsentHookError(HookwireError, KeyError):
    """Other layers or models have this hook point, but not this one; the message says why."""

    default_reason = "HOOK_ABSENT"


class GlobNoMatchError(HookwireError, KeyError):
    """A filter matches no hook point."""

    default_reason = "GLOB_NO_MATCH"


class ReadOnlyHookError(HookwireError, ValueError):
    """A change was asked for at a hook point that can only be read."""

    default_reason = "HOOK_READ_ONLY"


class ArgumentError(HookwireError, ValueError):
    """An argument has a value that it does not accept, or that contradicts another argument."""


class ArgumentTypeError(HookwireError, TypeError):
    """An argument has a type that it does not accept."""


class NoSequencesError(HookwireError, ValueError):
    """The input has no sequence."""

    default_reason = "NO_SEQUENCES"


class EmptySequenceError(HookwireError, ValueError):
    """A sequence has no token."""

    default_reason = "SEQUENCE_EMPTY"


class NothingToPredictError(HookwireError, ValueError):
    """A loss or log-probabilities of next tokens were asked for, and no row has a next token."""


class _OverLimitError(HookwireError):
    """More than the server allows."""

    @property
    def limit(self) -> int | None:
        """The largest value that is allowed, in the unit of the error; None if unknown."""
        return self._number("limit")


class _TooManyBytesError(_OverLimitError):
    """More bytes than the server allows."""

    @property
    def bytes(self) -> int | None:
        """The bytes that it would have: exact for a result, an upper bound for a pass."""
        return self._number("bytes")


class SequenceTooLongError(_OverLimitError, ValueError):
    """A sequence has more tokens than `cfg.n_ctx`."""

    default_reason = "SEQUENCE_TOO_LONG"

    @property
    def tokens(self) -> int | None:
        """The number of tokens of the sequence."""
        return self._number("tokens")


class TokenOutOfRangeError(HookwireError, IndexError, ValueError):
    """The vocabulary does not have this token id."""

    default_reason = "TOKEN_OUT_OF_RANGE"


class RowOutOfRangeError(HookwireError, IndexError):
    """The batch does not have this row."""

    default_reason = "SEQUENCE_OUT_OF_RANGE"


class PositionOutOfRangeError(HookwireError, IndexError):
    """A position is outside the sequence, or on its padding."""

    default_reason = "POSITION_OUT_OF_RANGE"


class HeadOutOfRangeError(HookwireError, IndexError):
    """The hook point does not have this head."""

    default_reason = "HEAD_OUT_OF_RANGE"


class NoHeadsError(HookwireError, ValueError):
    """Heads were selected at a hook point that has none."""

    default_reason = "NO_HEADS"


class FeatureOutOfRangeError(HookwireError, IndexError):
    """An index is outside the last axis."""

    default_reason = "FEATURE_OUT_OF_RANGE"


class SliceOutOfRangeError(HookwireError, IndexError):
    """A slice of a cache's tensors is outside their axis."""


class NoSuchAxisError(HookwireError, ValueError):
    """A selection is along an axis that the hook point does not have."""

    default_reason = "NO_SUCH_AXIS"


class BadSelectionError(HookwireError, ValueError):
    """A selection is empty or impossible, or names an index twice."""

    default_reason = "BAD_SELECTION"


class ValueShapeError(HookwireError, ValueError):
    """A value has the wrong shape: it does not fit the part of the tensor that it is for."""

    default_reason = "VALUE_SHAPE"


class ValueDtypeError(HookwireError, TypeError):
    """A value has a type that cannot be used, such as bool or complex."""

    default_reason = "VALUE_DTYPE"


class ValueNotFiniteError(HookwireError, ValueError):
    """A value has NaN or infinity, and `allow_non_finite=True` was not given."""

    default_reason = "VALUE_NOT_FINITE"


class NeverFiresError(HookwireError, ValueError):
    """The run does not reach this hook point, because it starts or ends at another layer."""

    default_reason = "NEVER_FIRES"


class StopOutOfRangeError(HookwireError, IndexError):
    """`stop_at_layer` or `start_at_layer` names no layer."""

    default_reason = "STOP_OUT_OF_RANGE"


class ResultTooLargeError(_TooManyBytesError):
    """The result would be larger than the limit. Nothing was computed."""

    default_reason = "RESULT_TOO_LARGE"


class PassTooLargeError(_TooManyBytesError):
    """The pass would need more memory than the server allows. Nothing was computed.

    Attention scores and patterns grow with the square of a sequence's length.
    """

    default_reason = "PASS_TOO_LARGE"

    @property
    def tokens(self) -> int | None:
        """The longest sequence that would fit, in tokens; 0 if none would."""
        return self._number("tokens")


class TooManyTokensError(HookwireError, ValueError):
    """A run has more tokens than the server accepts."""

    default_reason = "TOO_MANY_TOKENS"


class TooManyTensorsError(HookwireError, ValueError):
    """A run asks for more tensors than the server sends in one run."""

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
    """There is no parameter of this name, or the model does not have the layer."""

    default_reason = "WEIGHT_NOT_FOUND"


class AbsentWeightError(HookwireError, KeyError):
    """Other layers or models have this parameter, but not this one; the message says why."""

    default_reason = "WEIGHT_ABSENT"


class WeightRowError(HookwireError, IndexError):
    """The parameter does not have this row."""

    default_reason = "ROW_OUT_OF_RANGE"


class WeightsNotServedError(HookwireError, PermissionError):
    """The server does not send its weights (`--serve-weights false`)."""

    default_reason = "WEIGHTS_NOT_SERVED"


class LayerOutOfRangeError(HookwireError, IndexError, ValueError):
    """The model does not have this layer."""


class LayersDifferError(HookwireError, ValueError):
    """Tensors cannot be stacked into one, because their shapes differ from layer to layer."""


class DecompositionError(HookwireError, ValueError):
    """Parts of the residual stream do not sum to it."""


class LoadChangedError(HookwireError):
    """The server has loaded another model, or has other settings, than the request expects.

    A model expects the load that it connected to. Nothing was computed; `model.reconnect()`
    connects it to what the server has loaded now. A cache expects the load that made it: its
    tensors do not belong together with the weights of another checkpoint.
    """

    default_reason = "LOAD_CHANGED"


class ClosedError(HookwireError, ValueError):
    """The connection was closed with `close()`. `reconnect()` opens it again."""


class ForkedError(HookwireError, RuntimeError):
    """A child process cannot use this object of its parent process; the message says why."""


class UnavailableError(HookwireError, ConnectionError):
    """No server answers at the address, or the connection was lost."""


class ShuttingDownError(UnavailableError):
    """The server is shutting down."""

    default_reason = "SHUTTING_DOWN"


class ServerOutOfMemoryError(HookwireError):
    """The server ran out of memory."""

    default_reason = "OUT_OF_MEMORY"


class InternalServerError(HookwireError):
    """The server has a fault."""

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
    """The server ended the run, because its function took long and another run needed its place."""

    default_reason = "HOOK_TIMEOUT"


class ReaderStalledError(DeadlineError):
    """The server ended the run because this client read nothing for too long."""

    default_reason = "READER_STALLED"


class UnexpectedMessageError(HookwireError):
    """The server did not expect a message that this client sent: a fault of the client."""

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
    """A run has more captures or changes than the server accepts."""

    default_reason = "TOO_MANY_ENTRIES"


class TooManyCallsError(_OverLimitError):
    """This client has too many calls open; try again later."""

    default_reason = "TOO_MANY_CALLS"


class CancelledError(HookwireError):
    """The call was cancelled."""

    default_reason = "CANCELLED"


class IncompleteResultError(HookwireError):
    """The server's answer is incomplete or contradicts itself. None of it is returned."""


class RequestTooLargeError(HookwireError, ValueError):
    """The request is larger than the server's `max_request_bytes`. It was not sent."""


class MaskError(HookwireError, ValueError):
    """An attention mask masks more than padding on the left or the right."""


class TokensNeededError(HookwireError, ValueError):
    """A run that starts at a layer also needs the tokens; the message says what for."""


class NotASingleTokenError(HookwireError, AssertionError):
    """A string is not exactly one token, or the vocabulary does not have it."""


class UnknownWordError(HookwireError, ValueError):
    """The vocabulary lacks a word of the text, and the tokenizer has no unknown token."""


class ChatTemplateError(HookwireError, ValueError):
    """The chat template is missing or wrong, or refuses these messages."""


class MissingExtraError(HookwireError, ImportError):
    """An optional library is not installed; the message says how to install it."""


class DaemonError(HookwireError, RuntimeError):
    """The server that `serve` starts is missing, did not start, or ended by itself."""


class FileError(HookwireError, OSError, ValueError):
    """A file cannot be read or written, or holds something else."""


class NotInTokenizerError(HookwireError, AttributeError, NotImplementedError):
    """This tokenizer lacks a feature of Hugging Face's; the message says what to use instead."""


class UnsupportedError(HookwireError, NotImplementedError):
    """Hookwire does not have this feature of TransformerLens."""


class NotHereError(UnsupportedError, AttributeError):
    """A remote model lacks this attribute of TransformerLens's model; the message says why."""


class ReadOnlyConfigError(UnsupportedError, AttributeError):
    """The setting belongs to the server, so a client cannot change it."""


class NoAttributeError(HookwireError, AttributeError):
    """Neither Hookwire nor TransformerLens has this attribute."""


class NoModulesError(HookwireError, AttributeError, ValueError):
    """The modules of a model on a server cannot be used here.

    It is an AttributeError, because the attribute does not exist, and a ValueError, because
    TransformerLens's direct path patching refuses a Gemma 4 with one.
    """


class HookwireWarning(UserWarning):
    """The base of all warnings."""


class ResultSizeWarning(HookwireWarning):
    """The server is about to send a large result: over 64 MiB."""


class NonFiniteWarning(HookwireWarning):
    """A captured tensor or an output has NaN or infinity."""


class SkippedWarning(HookwireWarning):
    """Names were left out of a run, because this model does not have them."""


class PaddingWarning(HookwireWarning):
    """Token ids look like padding, and there is no mask; they are read as real tokens."""


class NothingToPredictWarning(HookwireWarning):
    """Some rows of a batch have a single token, and so no loss; other rows have one."""


class TruncatedWarning(HookwireWarning):
    """A text has more tokens than `cfg.n_ctx`: the model sees a part of it."""


class UnknownWordsWarning(HookwireWarning):
    """The vocabulary lacks words of a text: the model sees the unknown token instead."""


def warn(message: str, category: type[HookwireWarning]) -> None:
    """Shows a warning, at the line of the user's code that called this package.

    Args:
        message: the text.
        category: the class of the warning.
    """
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
