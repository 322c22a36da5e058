// The common part of Run and Interact calls: a ServedRun, and the messages of its result.
#ifndef HOOKWIRE_SERVER_RPC_RUN_REACTOR_H_
#define HOOKWIRE_SERVER_RPC_RUN_REACTOR_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

#include <string>

#include "absl/status/status.h"
#include "server/plan/planner.h"
#include "server/rpc/backend.h"
#include "server/rpc/caller.h"
#include "server/rpc/served_call.h"
#include "server/rpc/served_run.h"
#include "server/stream/message_writer.h"

namespace hookwire::server {

// Exists until gRPC has called OnDone and the scheduler has dropped the run.
class RunReactor : public ServedCall, private MessageWriter {
 public:
  // `backend` must outlive the call.
  RunReactor(const Backend& backend, std::string id, grpc::CallbackServerContext& context,
             Caller caller);

 protected:
  // Plans and queues the run, whose result stream then watches the call.
  absl::Status Begin(const v1::RunSpec& spec, Planner::Client client);

  // ServedCall
  void Fail(const absl::Status& status) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  ServedRun run_;

 private:
  // Cancels the run that has begun; never throws.
  void CancelRun(const absl::Status& status);

  // MessageWriter
  void Write(const grpc::ByteBuffer& message) override;
  void WriteAndClose(const grpc::ByteBuffer& message) override;
  void Close(const absl::Status& status) override;
  void Break(const absl::Status& status) override { ServedCall::Break(status); }
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_RUN_REACTOR_H_
