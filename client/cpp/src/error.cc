#include "client/cpp/src/error.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "hookwire/error.h"

namespace hookwire::client {
namespace {

constexpr absl::string_view kPayload = "type.googleapis.com/google.rpc.Status";

void TakeErrorInfo(const google::rpc::ErrorInfo& info, ErrorDetail& detail) {
  detail.reason_name = info.reason();
  if (!v1::ErrorReason_Parse(absl::StrCat("ERROR_REASON_", info.reason()), &detail.reason)) {
    detail.reason = v1::ERROR_REASON_UNSPECIFIED;
  }
  for (const auto& [key, value] : info.metadata()) {
    detail.metadata[key] = value;
    if (key == "hook") detail.hook = value;
    if (key == "suggestion") detail.suggestion = value;
  }
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  if (!status.error_details().empty()) {
    result.SetPayload(kPayload, absl::Cord(status.error_details()));
  }
  return result;
}

std::optional<ErrorDetail> DetailOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayload);
  google::rpc::Status rpc;
  if (!payload || !rpc.ParseFromString(std::string(*payload))) return std::nullopt;
  ErrorDetail detail;
  bool found = false;
  for (const auto& any : rpc.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad_request;
    if (any.Is<google::rpc::ErrorInfo>() && any.UnpackTo(&info)) {
      TakeErrorInfo(info, detail);
      found = true;
    } else if (any.Is<google::rpc::BadRequest>() && any.UnpackTo(&bad_request)) {
      if (bad_request.field_violations_size() > 0) {
        detail.field = bad_request.field_violations(0).field();
        found = true;
      }
    }
  }
  if (!found) return std::nullopt;
  return detail;
}

}  // namespace hookwire::client
