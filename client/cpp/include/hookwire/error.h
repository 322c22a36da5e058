// The details of a server's error, beyond its code and message.
#ifndef HOOKWIRE_CLIENT_CPP_ERROR_H_
#define HOOKWIRE_CLIENT_CPP_ERROR_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "hookwire/v1/service.pb.h"

namespace hookwire::client {

struct ErrorDetail {
  // ERROR_REASON_UNSPECIFIED if this client does not know the reason that the server sent.
  v1::ErrorReason reason = v1::ERROR_REASON_UNSPECIFIED;
  // As the server sent it, for example "HOOK_NOT_FOUND".
  std::string reason_name;
  // The name of the hook point that caused the error; empty if the error has none.
  std::string hook;
  // The nearest right value, or what to do instead; empty if the error has none.
  std::string suggestion;
  // The path of the wrong request field, for example "spec.captures[2].positions"; empty if the
  // error has none.
  std::string field;
  // All metadata of the reason, `hook` and `suggestion` included.
  std::map<std::string, std::string> metadata;
};

// The detail of an error that a Client returned. nullopt if the server sent none: errors of the
// connection (UNAVAILABLE, DEADLINE_EXCEEDED, …) and errors that the client detects itself have
// none.
std::optional<ErrorDetail> DetailOf(const absl::Status& status);

}  // namespace hookwire::client

#endif  // HOOKWIRE_CLIENT_CPP_ERROR_H_
