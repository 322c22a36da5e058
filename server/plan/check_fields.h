// The first look at a request: whether every oneof, message and enum in it says something that this
// server knows.
#ifndef HOOKWIRE_SERVER_PLAN_CHECK_FIELDS_H_
#define HOOKWIRE_SERVER_PLAN_CHECK_FIELDS_H_

#include "absl/status/status.h"
#include "hookwire/v1/run.pb.h"
#include "hookwire/v1/service.pb.h"

namespace hookwire::server {

// InvalidArgument (BAD_FIELD) for an oneof that is not set, a message that must be there and is
// not, an enum number that this server does not know, and sizes that lie outside their bounds.
// Looks at the request alone, not at the model.
absl::Status CheckFields(const v1::RunSpec& spec);
absl::Status CheckFields(const v1::GetWeightRequest& request);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_CHECK_FIELDS_H_
