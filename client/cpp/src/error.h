// Converts gRPC's errors to absl::Status.
#ifndef HOOKWIRE_CLIENT_CPP_SRC_ERROR_H_
#define HOOKWIRE_CLIENT_CPP_SRC_ERROR_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace hookwire::client {

// Has the same code and message. The content of grpc-status-details-bin becomes a payload, which
// DetailOf reads.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace hookwire::client

#endif  // HOOKWIRE_CLIENT_CPP_SRC_ERROR_H_
