// The reactor of one GetWeight call.
#ifndef HOOKWIRE_SERVER_RPC_WEIGHT_CALL_H_
#define HOOKWIRE_SERVER_RPC_WEIGHT_CALL_H_

#include <grpcpp/alarm.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/memory/request_memory.h"
#include "server/rpc/backend.h"
#include "server/rpc/caller.h"
#include "server/rpc/guard.h"
#include "server/rpc/status.h"
#include "server/rpc/weight_reader.h"

namespace hookwire::server {

// Makes and writes one message at a time, on gRPC's threads. A large selection of rows is resolved
// on a planning thread. Ends with DEADLINE_EXCEEDED if its reader reads nothing for the stall
// timeout, and with WEIGHTS_CHANGED if the weight files change before all of it has been sent.
// Deletes itself when the call is over.
class WeightCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  // Sends the parameter, or an error. `backend` must outlive the call.
  static WeightCall* Start(const Backend& backend, grpc::CallbackServerContext& context,
                           Caller caller, const grpc::ByteBuffer& request);

 private:
  class Watch;

  WeightCall(const Backend& backend, grpc::CallbackServerContext& context, Caller caller);

  absl::Status Open(const grpc::ByteBuffer& request);
  absl::Status WriteNext();
  // Runs `body` in a callback of gRPC, or on a planning thread; ends the call if it returns an
  // error or throws.
  template <typename Body>
  void Step(Body&& body) {
    const absl::Status status = Guarded(std::forward<Body>(body));
    if (!status.ok()) Finish(ToGrpcStatus(status));
  }
  // The next message; nothing after the last one.
  absl::StatusOr<std::optional<grpc::ByteBuffer>> Next();

  void OnWriteDone(bool ok) override;
  void OnCancel() override { cancelled_ = true; }
  void OnDone() override { delete this; }

  const Backend& backend_;
  const Caller caller_;
  const std::unique_ptr<RequestMemory::Lease> memory_;
  std::atomic<bool> cancelled_ = false;
  // Absent until the request has been decoded.
  std::optional<WeightReader> reader_;
  grpc::ByteBuffer message_;
  // Shared with the alarm, which may go off after the call has ended.
  const std::shared_ptr<Watch> watch_;
  // Goes off if the message that is being sent is not read in time.
  std::optional<grpc::Alarm> alarm_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_WEIGHT_CALL_H_
