// Errors as values: the cause, the hook point, the field to blame, and what would have been right.
//
// Made anywhere in the server, carried as absl::Status with payloads, and turned into a gRPC status
// with google.rpc details at one place (rpc/status.h). Depends on proto/ and on the names of the
// model's error payloads; any thread.
#ifndef HOOKWIRE_SERVER_ERRORS_ERRORS_H_
#define HOOKWIRE_SERVER_ERRORS_ERRORS_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "hookwire/v1/service.pb.h"

namespace hookwire::server {

// A status and its details travel in HTTP/2 headers, so what an error echoes from a request is kept
// short. Longer texts are cut between two characters and end with "…".
inline constexpr size_t kMaxErrorMessage = 1536;
inline constexpr size_t kMaxErrorMetadata = 512;

struct ErrorDetails {
  v1::ErrorReason reason = v1::ERROR_REASON_INTERNAL;
  // Path of the request field to blame, for example "spec.captures[2].positions"; empty if there is
  // none.
  std::string field;
  // For ErrorInfo.metadata: "hook", "suggestion", "bytes", "limit", …
  std::vector<std::pair<std::string, std::string>> metadata;
  // Whether the same request may succeed later (google.rpc.RetryInfo). Set it where the reason
  // alone does not say so.
  bool retry = false;
};

// The gRPC code of a reason (the table is in errors.cc).
absl::StatusCode CodeOf(v1::ErrorReason reason);

// The reason without its prefix, as google.rpc.ErrorInfo carries it: "HOOK_NOT_FOUND".
std::string ReasonName(v1::ErrorReason reason);

// `message` is one sentence: the cause and the nearest right value.
absl::Status MakeError(absl::StatusCode code, std::string_view message,
                       const ErrorDetails& details);

// With the code of the details' reason.
absl::Status MakeError(std::string_view message, const ErrorDetails& details);

// The details that MakeError put into the status, or those of a model::Catalogue error (its
// payloads "hookwire/reason", "hookwire/meta/…"), with the metadata sorted by key. Other statuses
// have ERROR_REASON_INTERNAL and no metadata.
ErrorDetails DetailsOf(const absl::Status& status);

// What model::Guarded made of an exception, with a sentence for the client: OUT_OF_MEMORY where
// memory ran out, INTERNAL otherwise. OK, and statuses that have a reason, stay as they are.
absl::Status ExplainFailure(const absl::Status& status);

// Whether the status has a reason (MakeError or a model::Catalogue made it).
bool HasReason(const absl::Status& status);

// The same error, blamed on `field`. An OK status stays as it is.
absl::Status WithField(absl::Status status, std::string_view field);

// At most `limit` bytes of UTF-8 text, cut between two characters, with "…" where something was cut
// off.
std::string Shorten(std::string_view text, size_t limit);

// A name from a request, in single quotes, and shortened for a message.
std::string Quote(std::string_view name);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_ERRORS_ERRORS_H_
