// One call of GetWeight.
#ifndef HOOKWIRE_SERVER_RPC_WEIGHT_CALL_H_
#define HOOKWIRE_SERVER_RPC_WEIGHT_CALL_H_

#include <grpcpp/alarm.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/observe/weights_guard.h"
#include "server/rpc/weight_reader.h"

namespace hookwire::server {

// Makes and writes one message at a time, on gRPC's threads; the pass is not disturbed. Ends with
// DEADLINE_EXCEEDED where its reader takes nothing for `stall_timeout`, and with WEIGHTS_CHANGED
// where the weights change before all of it has been written. Deletes itself when the call is over.
class WeightCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  // Sends the parameter, or the error. `guard` must outlive the call.
  WeightCall(grpc::CallbackServerContext& context, absl::StatusOr<WeightReader> reader,
             WeightsGuard& guard, absl::Duration stall_timeout);

 private:
  class Watch;

  void WriteNext();
  // Nothing after the last one.
  absl::StatusOr<std::optional<grpc::ByteBuffer>> Next();

  void OnWriteDone(bool ok) override;
  void OnDone() override;

  absl::StatusOr<WeightReader> reader_;
  WeightsGuard& guard_;
  const absl::Duration stall_timeout_;
  grpc::ByteBuffer message_;
  // Shared with the alarm, which may ring after the call is over.
  const std::shared_ptr<Watch> watch_;
  // Of the message that is on its way.
  std::optional<grpc::Alarm> alarm_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_WEIGHT_CALL_H_
