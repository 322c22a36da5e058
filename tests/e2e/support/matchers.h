// How tests speak of statuses.
#ifndef HOOKWIRE_TESTS_E2E_SUPPORT_MATCHERS_H_
#define HOOKWIRE_TESTS_E2E_SUPPORT_MATCHERS_H_

#include <gmock/gmock.h>

#include <ostream>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hookwire/error.h"

namespace hookwire::e2e {

inline absl::Status StatusOf(const absl::Status& status) { return status; }
template <typename T>
absl::Status StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

MATCHER(IsOk, "is OK") {
  *result_listener << StatusOf(arg);
  return arg.ok();
}

MATCHER_P(HasCode, code, "has the code") {
  *result_listener << StatusOf(arg);
  return StatusOf(arg).code() == code;
}

// A server's error with this gRPC code and this reason.
MATCHER_P2(IsError, code, reason, "is the error") {
  const absl::Status& status = StatusOf(arg);
  *result_listener << status;
  const auto detail = client::DetailOf(status);
  if (detail) *result_listener << " (" << detail->reason_name << ")";
  return status.code() == code && detail && detail->reason == reason;
}

}  // namespace hookwire::e2e

#endif  // HOOKWIRE_TESTS_E2E_SUPPORT_MATCHERS_H_
