// One call of Run: the joint between gRPC, the scheduler and the result stream.
#ifndef HOOKWIRE_SERVER_RPC_RUN_CALL_H_
#define HOOKWIRE_SERVER_RPC_RUN_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "server/plan/run_plan.h"
#include "server/rpc/backend.h"
#include "server/schedule/scheduler.h"
#include "server/stream/message_writer.h"
#include "server/stream/result_stream.h"

namespace hookwire::server {

// Lives until gRPC has done with the call and the scheduler has let go of the run. The request is
// decoded, planned and queued on gRPC's thread; tensors are written from the scheduler's thread,
// what is left over from gRPC's.
class RunCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                      private MessageWriter,
                      private RunOutput {
 public:
  // `backend` must outlive the call.
  static RunCall* Start(const Backend& backend, std::string id,
                        grpc::CallbackServerContext& context, const grpc::ByteBuffer& request);

 private:
  RunCall(const Backend& backend, std::string id, grpc::CallbackServerContext& context)
      : backend_(backend), id_(std::move(id)), context_(context), peer_(context.peer()) {}

  void Begin(const grpc::ByteBuffer& request, const std::shared_ptr<RunCall>& self);
  // Ends a call whose request was refused.
  void Refuse(const absl::Status& status);
  void Log(const RunOutcome& outcome) const;

  // grpc::ServerWriteReactor
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // MessageWriter
  void Write(const grpc::ByteBuffer& message) override;
  void WriteAndClose(const grpc::ByteBuffer& message) override;
  void Close(const absl::Status& status) override;
  void Break(const absl::Status& status) override;

  // RunOutput
  absl::Status Emit(uint32_t index, uint64_t offset, at::Tensor tensor) override;
  absl::Status Progress(int layers_done) override;
  void Complete(RunOutcome outcome) override;

  const Backend& backend_;
  const std::string id_;
  // Gone after OnDone, which may come before the scheduler has let go of the run.
  grpc::CallbackServerContext& context_;
  const std::string peer_;
  std::shared_ptr<const RunPlan> plan_;
  // There is none where the request was refused.
  std::optional<ResultStream> stream_;
  // What gRPC is writing.
  grpc::ByteBuffer message_;
  // Until OnDone.
  std::shared_ptr<RunCall> self_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_RUN_CALL_H_
