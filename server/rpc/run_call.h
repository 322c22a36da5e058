// One call of Run: its reactor.
#ifndef HOOKWIRE_SERVER_RPC_RUN_CALL_H_
#define HOOKWIRE_SERVER_RPC_RUN_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "server/rpc/backend.h"
#include "server/rpc/run_session.h"
#include "server/stream/message_writer.h"

namespace hookwire::server {

// Lives until gRPC has done with the call and the scheduler has let go of the run.
class RunCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer>, private MessageWriter {
 public:
  // `backend` must outlive the call.
  static RunCall* Start(const Backend& backend, std::string id,
                        grpc::CallbackServerContext& context, const grpc::ByteBuffer& request);

 private:
  RunCall(const Backend& backend, std::string id, grpc::CallbackServerContext& context)
      : context_(context), session_(backend, std::move(id), context.peer(), *this) {}

  absl::Status Begin(const grpc::ByteBuffer& request);

  // grpc::ServerWriteReactor
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // MessageWriter
  void Write(const grpc::ByteBuffer& message) override;
  void WriteAndClose(const grpc::ByteBuffer& message) override;
  void Close(const absl::Status& status) override;
  void Break(const absl::Status& status) override;

  // Gone after OnDone, which may come before the scheduler has let go of the run.
  grpc::CallbackServerContext& context_;
  RunSession session_;
  // What gRPC is writing.
  grpc::ByteBuffer message_;
  // Until OnDone.
  std::shared_ptr<RunCall> self_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_RUN_CALL_H_
