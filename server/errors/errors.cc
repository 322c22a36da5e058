#include "server/errors/errors.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "model/adapter/catalogue.h"

namespace hookwire::server {
namespace {

constexpr absl::string_view kReasonPrefix = "ERROR_REASON_";
constexpr absl::string_view kFieldPayload = "hookwire/field";
constexpr absl::string_view kRetryPayload = "hookwire/retry";
constexpr absl::string_view kMetaPrefix = "hookwire/meta/";
constexpr absl::string_view kEllipsis = "…";
constexpr size_t kMaxQuotedName = 120;
constexpr size_t kMaxFailure = 300;

std::string ReasonPayload() { return std::string(model::kErrorReasonPayload); }

}  // namespace

absl::StatusCode CodeOf(v1::ErrorReason reason) {
  switch (reason) {
    // This model or checkpoint does not have it.
    case v1::ERROR_REASON_HOOK_NOT_FOUND:
    case v1::ERROR_REASON_HOOK_ABSENT:
    case v1::ERROR_REASON_GLOB_NO_MATCH:
    case v1::ERROR_REASON_NO_TOKENIZER:
    case v1::ERROR_REASON_WEIGHT_NOT_FOUND:
    case v1::ERROR_REASON_WEIGHT_ABSENT:
      return absl::StatusCode::kNotFound;
    // An index or a number outside the range of the model or the run.
    case v1::ERROR_REASON_SEQUENCE_TOO_LONG:
    case v1::ERROR_REASON_TOKEN_OUT_OF_RANGE:
    case v1::ERROR_REASON_SEQUENCE_OUT_OF_RANGE:
    case v1::ERROR_REASON_POSITION_OUT_OF_RANGE:
    case v1::ERROR_REASON_HEAD_OUT_OF_RANGE:
    case v1::ERROR_REASON_FEATURE_OUT_OF_RANGE:
    case v1::ERROR_REASON_STOP_OUT_OF_RANGE:
    case v1::ERROR_REASON_ROW_OUT_OF_RANGE:
      return absl::StatusCode::kOutOfRange;
    // Well formed, but not possible at this place of this pass.
    case v1::ERROR_REASON_HOOK_READ_ONLY:
    case v1::ERROR_REASON_NEVER_FIRES:
    // Neither another request nor waiting helps.
    case v1::ERROR_REASON_WEIGHTS_CHANGED:
    // The client has to connect again.
    case v1::ERROR_REASON_LOAD_CHANGED:
      return absl::StatusCode::kFailedPrecondition;
    // Wrong on every model.
    case v1::ERROR_REASON_NO_SEQUENCES:
    case v1::ERROR_REASON_SEQUENCE_EMPTY:
    case v1::ERROR_REASON_NO_HEADS:
    case v1::ERROR_REASON_NO_SUCH_AXIS:
    case v1::ERROR_REASON_BAD_SELECTION:
    case v1::ERROR_REASON_VALUE_SHAPE:
    case v1::ERROR_REASON_VALUE_DTYPE:
    case v1::ERROR_REASON_VALUE_NOT_FINITE:
    case v1::ERROR_REASON_UNEXPECTED_MESSAGE:
    case v1::ERROR_REASON_UNKNOWN_FIELD:
    case v1::ERROR_REASON_BAD_FIELD:
    case v1::ERROR_REASON_MALFORMED_REQUEST:
      return absl::StatusCode::kInvalidArgument;
    // More than this server allows.
    case v1::ERROR_REASON_RESULT_TOO_LARGE:
    case v1::ERROR_REASON_TOO_MANY_TOKENS:
    case v1::ERROR_REASON_TOO_MANY_TENSORS:
    case v1::ERROR_REASON_PASS_TOO_LARGE:
    case v1::ERROR_REASON_OUT_OF_MEMORY:
    case v1::ERROR_REASON_QUEUE_FULL:
    case v1::ERROR_REASON_QUEUE_TIMEOUT:
    case v1::ERROR_REASON_VALUE_TOO_LARGE:
    case v1::ERROR_REASON_REQUEST_MEMORY_FULL:
    case v1::ERROR_REASON_TOO_MANY_ENTRIES:
    case v1::ERROR_REASON_TOO_MANY_CALLS:
      return absl::StatusCode::kResourceExhausted;
    case v1::ERROR_REASON_HOOK_TIMEOUT:
    case v1::ERROR_REASON_READER_STALLED:
    case v1::ERROR_REASON_SENDER_STALLED:
      return absl::StatusCode::kDeadlineExceeded;
    case v1::ERROR_REASON_CANCELLED:
      return absl::StatusCode::kCancelled;
    case v1::ERROR_REASON_SHUTTING_DOWN:
      return absl::StatusCode::kUnavailable;
    case v1::ERROR_REASON_WEIGHTS_NOT_SERVED:
      return absl::StatusCode::kPermissionDenied;
    default:
      return absl::StatusCode::kInternal;
  }
}

std::string ReasonName(v1::ErrorReason reason) {
  return std::string(absl::StripPrefix(v1::ErrorReason_Name(reason), kReasonPrefix));
}

absl::Status MakeError(absl::StatusCode code, std::string_view message,
                       const ErrorDetails& details) {
  absl::Status status(code, Shorten(message, kMaxErrorMessage));
  status.SetPayload(ReasonPayload(), absl::Cord(ReasonName(details.reason)));
  for (const auto& [key, value] : details.metadata) {
    status.SetPayload(absl::StrCat(kMetaPrefix, key),
                      absl::Cord(Shorten(value, kMaxErrorMetadata)));
  }
  if (details.retry) status.SetPayload(kRetryPayload, absl::Cord("1"));
  return details.field.empty() ? status : WithField(std::move(status), details.field);
}

absl::Status MakeError(std::string_view message, const ErrorDetails& details) {
  return MakeError(CodeOf(details.reason), message, details);
}

ErrorDetails DetailsOf(const absl::Status& status) {
  ErrorDetails details;
  const std::string reason_payload = ReasonPayload();
  status.ForEachPayload([&](absl::string_view type, const absl::Cord& payload) {
    if (type == reason_payload) {
      v1::ErrorReason reason;
      if (v1::ErrorReason_Parse(absl::StrCat(kReasonPrefix, std::string(payload)), &reason)) {
        details.reason = reason;
      }
    } else if (type == kFieldPayload) {
      details.field = std::string(payload);
    } else if (type == kRetryPayload) {
      details.retry = true;
    } else if (absl::ConsumePrefix(&type, kMetaPrefix)) {
      details.metadata.emplace_back(std::string(type), std::string(payload));
    }
  });
  // The order in which a status gives its payloads is not specified.
  std::sort(details.metadata.begin(), details.metadata.end());
  return details;
}

absl::Status ExplainFailure(const absl::Status& status) {
  if (status.ok() || HasReason(status)) return status;
  const std::string what = Shorten(std::string(status.message()), kMaxFailure);
  if (status.code() == absl::StatusCode::kResourceExhausted) {
    return MakeError(absl::StrCat("the server ran out of memory over this request: send a smaller "
                                  "one, or the same again later (",
                                  what, ")"),
                     {v1::ERROR_REASON_OUT_OF_MEMORY, "", {}});
  }
  if (status.code() != absl::StatusCode::kInternal) return status;
  return MakeError(
      absl::StrCat("the request failed in the server, which is a fault of the server's: ", what),
      {v1::ERROR_REASON_INTERNAL, "", {}});
}

bool HasReason(const absl::Status& status) {
  return status.GetPayload(ReasonPayload()).has_value();
}

absl::Status WithField(absl::Status status, std::string_view field) {
  if (!status.ok()) {
    status.SetPayload(kFieldPayload, absl::Cord(Shorten(field, kMaxErrorMetadata)));
  }
  return status;
}

std::string Shorten(std::string_view text, size_t limit) {
  if (text.size() <= limit) return std::string(text);
  size_t end = limit > kEllipsis.size() ? limit - kEllipsis.size() : 0;
  // Bytes 10xxxxxx continue a character.
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return absl::StrCat(std::string(text.substr(0, end)), kEllipsis);
}

std::string Quote(std::string_view name) {
  return absl::StrCat("'", Shorten(name, kMaxQuotedName), "'");
}

}  // namespace hookwire::server
