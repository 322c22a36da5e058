// Errors as values that say what went wrong, on which hook, in which field, and what would have been right.
//
// Made anywhere in the server, carried as absl::Status with payloads, and turned into a gRPC status with google.rpc details
// at one place (rpc/status.h).
#ifndef HOOKWIRE_SERVER_ERRORS_ERRORS_H_
#define HOOKWIRE_SERVER_ERRORS_ERRORS_H_

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "hookwire/v1/service.pb.h"

namespace hookwire::server {

struct ErrorDetails {
  v1::ErrorReason reason = v1::ERROR_REASON_INTERNAL;
  // Path of the request field to blame, for example "spec.captures[2].positions"; empty where there is none.
  std::string field;
  // For ErrorInfo.metadata: "hook", "suggestion", "bytes", "limit", …
  std::vector<std::pair<std::string, std::string>> metadata;
};

// `message` is one sentence: the cause and the nearest right value.
absl::Status MakeError(absl::StatusCode code, std::string_view message, const ErrorDetails& details);

// What MakeError put in, or what a model::Catalogue error carries (its payloads "hookwire/reason", "hookwire/meta/…").
// Statuses that were made elsewhere give ERROR_REASON_INTERNAL and no metadata.
ErrorDetails DetailsOf(const absl::Status& status);

// The same error, blamed on `field`.
absl::Status WithField(absl::Status status, std::string_view field);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_ERRORS_ERRORS_H_
