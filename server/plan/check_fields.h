// The first check of a request: that every oneof and every required message is set, and that this
// server knows every enum value.
#ifndef HOOKWIRE_SERVER_PLAN_CHECK_FIELDS_H_
#define HOOKWIRE_SERVER_PLAN_CHECK_FIELDS_H_

#include "absl/status/status.h"
#include "hookwire/v1/run.pb.h"
#include "hookwire/v1/service.pb.h"

namespace hookwire::server {

// InvalidArgument (BAD_FIELD) for a oneof or a required message that is not set, an enum number
// that this server does not know, and sizes outside their bounds. Does not depend on the model.
absl::Status CheckFields(const v1::RunSpec& spec);
absl::Status CheckFields(const v1::GetWeightRequest& request);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_CHECK_FIELDS_H_
