"""From the status with which a call has failed to a typed error."""

from __future__ import annotations

import contextlib
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from hookwire import errors
from hookwire.errors import wording

DETAILS = "grpc-status-details-bin"

BY_CODE: dict[grpc.StatusCode, type[errors.HookwireError]] = {
    grpc.StatusCode.UNAVAILABLE: errors.UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineError,
    grpc.StatusCode.CANCELLED: errors.CancelledError,
    grpc.StatusCode.UNIMPLEMENTED: errors.UnsupportedError,
    grpc.StatusCode.INTERNAL: errors.InternalServerError,
}
"""For a status that brings no reason, which comes from gRPC itself."""


def from_rpc(error: Any, address: str) -> errors.HookwireError:
    """The typed error for a failed call.

    Args:
        error: what grpc raised: anything with `code()`, `details()` and `trailing_metadata()`.
        address: the server's, for messages about the connection.
    """
    code: grpc.StatusCode = error.code()
    message: str = error.details() or ""
    info = error_details_pb2.ErrorInfo()
    blame = error_details_pb2.BadRequest()
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS:
            with contextlib.suppress(DecodeError):  # of a proxy, say: the code is enough
                status.ParseFromString(value)
    for detail in status.details:
        # Either may be missing; a detail of another type is left alone.
        if not detail.Unpack(info):
            detail.Unpack(blame)
    metadata = dict(info.metadata)
    field = blame.field_violations[0].field if blame.field_violations else None
    if info.reason:  # else it is a sentence of gRPC
        said = wording.in_python(message, info.reason, field, metadata)
        if said != message:
            metadata["server_message"] = message
        message = said
    if info.reason in ("HOOK_NOT_FOUND", "GLOB_NO_MATCH"):
        message += wording.about_globs(metadata.get("hook", ""))
    if "suggestion" in metadata:
        metadata["suggestion"] = wording.in_python(metadata["suggestion"], "", field, metadata)
    cls = errors.BY_REASON.get(info.reason) or BY_CODE.get(code) or errors.HookwireError
    if not info.reason and code is grpc.StatusCode.UNAVAILABLE:
        message = f"no Hookwire server answers at {address}: {wording.why_no_answer(message)}"
    return cls(
        message or code.name,
        reason=info.reason or None,
        code=code,
        metadata=metadata,
        field=field,
    )
