// Turns an absl::Status into a grpc::Status; the only place that does.
#ifndef HOOKWIRE_SERVER_RPC_STATUS_H_
#define HOOKWIRE_SERVER_RPC_STATUS_H_

#include <grpc/grpc.h>
#include <grpcpp/support/status.h>

#include <cstddef>

#include "absl/status/status.h"

namespace hookwire::server {

// The most bytes of message and details together, as encoded in HTTP/2 headers.
inline constexpr size_t kMaxStatusBytes = 4096;

// The same code and message, with a google.rpc.Status in the details: an ErrorInfo (domain
// "hookwire"), a BadRequest if a field is to blame, a ResourceInfo if a hook point is, a RetryInfo
// if the same request may succeed later. Text is made valid UTF-8, and shortened if it does not
// fit. Never throws: if there is no memory for the text, the status has only the code.
grpc::Status ToGrpcStatus(const absl::Status& status);

// CANCELLED, for a run whose client has gone or has cancelled it.
absl::Status ClientGone();

// Ends a call at once, whatever gRPC is doing with it. Unlike ServerContext::TryCancel, this tells
// the client why.
void BreakOff(grpc_call* call, const absl::Status& status);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_STATUS_H_
