#include "server/rpc/status.h"

#include <algorithm>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/errors/errors.h"
#include "server/rpc/utf8.h"

namespace hookwire::server {
namespace {

constexpr std::string_view kDomain = "hookwire";
constexpr std::string_view kHookType = "hookwire.v1.HookPoint";
constexpr int kRetrySeconds = 1;

// The most bytes of each text, which are reduced until the status fits.
struct Caps {
  size_t message = 1200;
  size_t field = 300;
  size_t value = 400;
  size_t values = 12;
};

// Whether the client or its deadline ended the call: there is no ErrorReason for that.
bool IsOutside(const absl::Status& status) {
  return (absl::IsCancelled(status) || absl::IsDeadlineExceeded(status)) && !HasReason(status);
}

bool MaySucceedLater(absl::StatusCode code, const ErrorDetails& details) {
  return details.retry || code == absl::StatusCode::kUnavailable ||
         details.reason == v1::ERROR_REASON_QUEUE_FULL ||
         details.reason == v1::ERROR_REASON_QUEUE_TIMEOUT ||
         details.reason == v1::ERROR_REASON_TOO_MANY_CALLS;
}

google::rpc::Status Build(const absl::Status& status, const ErrorDetails& details,
                          const Caps& caps) {
  const std::string sentence(status.message());
  google::rpc::Status out;
  out.set_code(static_cast<int>(status.code()));
  out.set_message(ValidUtf8(sentence, caps.message));
  if (IsOutside(status)) return out;

  google::rpc::ErrorInfo info;
  info.set_reason(ReasonName(details.reason));
  info.set_domain(std::string(kDomain));
  google::rpc::ResourceInfo resource;
  size_t left = caps.values;
  for (const auto& [key, value] : details.metadata) {
    if (left-- == 0) break;
    const std::string text = ValidUtf8(value, caps.value);
    if (key == "hook") resource.set_resource_name(text);
    if (key == "cause") resource.set_description(text);
    (*info.mutable_metadata())[ValidUtf8(key, 64)] = text;
  }
  out.add_details()->PackFrom(info);

  if (!details.field.empty()) {
    google::rpc::BadRequest bad;
    auto* violation = bad.add_field_violations();
    violation->set_field(ValidUtf8(details.field, caps.field));
    violation->set_description(ValidUtf8(sentence, std::min(caps.message, caps.field)));
    out.add_details()->PackFrom(bad);
  }
  if (!resource.resource_name().empty()) {
    resource.set_resource_type(std::string(kHookType));
    out.add_details()->PackFrom(resource);
  }
  if (MaySucceedLater(status.code(), details)) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(kRetrySeconds);
    out.add_details()->PackFrom(retry);
  }
  return out;
}

// Headers carry the message percent-encoded and the details in base64.
size_t SizeInHeaders(const google::rpc::Status& status) {
  const auto plain = [](unsigned char c) { return c >= ' ' && c <= '~' && c != '%'; };
  size_t message = 0;
  for (const unsigned char c : status.message()) message += plain(c) ? 1 : 3;
  return message + (status.ByteSizeLong() + 2) / 3 * 4;
}

grpc::Status Explain(const absl::Status& status) {
  const ErrorDetails details = DetailsOf(status);
  Caps caps;
  google::rpc::Status out = Build(status, details, caps);
  while (SizeInHeaders(out) > kMaxStatusBytes) {
    caps = {caps.message * 3 / 4, caps.field * 3 / 4, caps.value * 3 / 4,
            std::max<size_t>(caps.values * 3 / 4, 4)};
    out = Build(status, details, caps);
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), out.message(),
                      out.SerializeAsString());
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  try {
    return Explain(status);
  } catch (const std::exception&) {
    // There is no memory for the text.
    return grpc::Status(static_cast<grpc::StatusCode>(status.code()), "");
  }
}

absl::Status ClientGone() {
  return MakeError("the client has gone or has cancelled the run",
                   {v1::ERROR_REASON_CANCELLED, "", {}});
}

void BreakOff(grpc_call* call, const absl::Status& status) {
  const grpc::Status told = ToGrpcStatus(status);
  grpc_call_cancel_with_status(call, static_cast<grpc_status_code>(told.error_code()),
                               told.error_message().c_str(), nullptr);
}

}  // namespace hookwire::server
