// The reactor of one GetWeight call.
#ifndef HOOKWIRE_SERVER_RPC_WEIGHT_CALL_H_
#define HOOKWIRE_SERVER_RPC_WEIGHT_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "server/rpc/backend.h"
#include "server/rpc/caller.h"
#include "server/rpc/served_call.h"
#include "server/rpc/weight_reader.h"

namespace hookwire::server {

// Sends the parameter, or an error. Makes and sends one message at a time. A large selection of
// rows is resolved on a planning thread. Ends with WEIGHTS_CHANGED if the weight files change
// before all of it has been sent.
class WeightCall final : public ServedCall {
 public:
  // `backend` must outlive the call.
  WeightCall(const Backend& backend, grpc::CallbackServerContext& context, Caller caller)
      : ServedCall(backend, backend.calls, context, std::move(caller)) {}

 private:
  absl::Status Receive(const grpc::ByteBuffer& message) override;
  absl::Status Sent() override;

  // Absent until the request has been decoded.
  std::optional<WeightReader> reader_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_WEIGHT_CALL_H_
