// absl::Status -> grpc::Status, at this one place.
#ifndef HOOKWIRE_SERVER_RPC_STATUS_H_
#define HOOKWIRE_SERVER_RPC_STATUS_H_

#include <grpc/grpc.h>
#include <grpcpp/support/status.h>

#include <cstddef>

#include "absl/status/status.h"

namespace hookwire::server {

// Message and details together, as they travel in HTTP/2 headers, take no more than this.
inline constexpr size_t kMaxStatusBytes = 4096;

// The same code and sentence, with a google.rpc.Status in the details: an ErrorInfo (domain
// "hookwire"), a BadRequest where a field is to blame, a ResourceInfo where a hook point is, a
// RetryInfo where the same request may succeed later. Text is made valid UTF-8 and shortened where
// it would not fit. Never throws: where there is no memory for words, the code alone is left.
grpc::Status ToGrpcStatus(const absl::Status& status);

// CANCELLED: what a run ends with whose client has gone or has cancelled it.
absl::Status ClientGone();

// Ends a call in the middle of whatever gRPC does with it. Unlike ServerContext::TryCancel, this
// tells the client why.
void BreakOff(grpc_call* call, const absl::Status& status);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_STATUS_H_
