// What a server's error says beyond its code and sentence.
#ifndef HOOKWIRE_CLIENT_CPP_ERROR_H_
#define HOOKWIRE_CLIENT_CPP_ERROR_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "hookwire/v1/service.pb.h"

namespace hookwire::client {

struct ErrorDetail {
  // ERROR_REASON_UNSPECIFIED where the server gave one that this client does not know.
  v1::ErrorReason reason = v1::ERROR_REASON_UNSPECIFIED;
  // As the server sent it, for example "HOOK_NOT_FOUND".
  std::string reason_name;
  // The hook point to blame, and the nearest right value; empty where there is none.
  std::string hook;
  std::string suggestion;
  // Path of the request field to blame, for example "spec.captures[2].positions"; empty where there
  // is none.
  std::string field;
  // Everything that came with the reason, `hook` and `suggestion` included.
  std::map<std::string, std::string> metadata;
};

// The detail of an error that a Client returned. Absent where the server sent none: for errors of
// the transport (UNAVAILABLE, DEADLINE_EXCEEDED, …) and for those that the client found itself.
std::optional<ErrorDetail> DetailOf(const absl::Status& status);

}  // namespace hookwire::client

#endif  // HOOKWIRE_CLIENT_CPP_ERROR_H_
