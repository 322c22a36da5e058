// One call of GetWeight.
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

// Makes and writes one message at a time, on gRPC's threads; the pass is not disturbed. A large
// selection of rows is resolved on a planning thread. Ends with
// DEADLINE_EXCEEDED where its reader takes nothing for `stall_timeout`, and with WEIGHTS_CHANGED
// where the weights change before all of it has been written. Deletes itself when the call is over.
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
  // Of what gRPC, or a planning thread, calls: an error, or an exception, ends the call.
  template <typename Body>
  void Step(Body&& body) {
    const absl::Status status = Guarded(std::forward<Body>(body));
    if (!status.ok()) Finish(ToGrpcStatus(status));
  }
  // Nothing after the last one.
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
  // Shared with the alarm, which may ring after the call is over.
  const std::shared_ptr<Watch> watch_;
  // Of the message that is on its way.
  std::optional<grpc::Alarm> alarm_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_WEIGHT_CALL_H_
