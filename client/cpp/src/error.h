// gRPC's errors as absl::Status.
#ifndef HOOKWIRE_CLIENT_CPP_SRC_ERROR_H_
#define HOOKWIRE_CLIENT_CPP_SRC_ERROR_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace hookwire::client {

// The same code and message. What came in grpc-status-details-bin becomes a payload, which DetailOf
// reads.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace hookwire::client

#endif  // HOOKWIRE_CLIENT_CPP_SRC_ERROR_H_
