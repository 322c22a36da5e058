// Refuses messages with fields that this server does not know, so that nothing that a client asks
// for is silently left out.
#ifndef HOOKWIRE_SERVER_PLAN_UNKNOWN_FIELDS_H_
#define HOOKWIRE_SERVER_PLAN_UNKNOWN_FIELDS_H_

#include <google/protobuf/message.h>

#include "absl/status/status.h"

namespace hookwire::server {

// InvalidArgument (UNKNOWN_FIELD) with the place and the number of the first unknown field in
// `message` or in any message inside it; the root's own name is not part of the path. Visits
// messages only, not numbers, strings or bytes, so that the time does not depend on how many tokens
// or bytes a request has.
absl::Status RejectUnknownFields(const google::protobuf::Message& message);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_UNKNOWN_FIELDS_H_
