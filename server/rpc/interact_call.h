// One call of Interact: its reactor. A run as in run_call.h, whose client also sends: values that
// are large, and answers to callbacks.
#ifndef HOOKWIRE_SERVER_RPC_INTERACT_CALL_H_
#define HOOKWIRE_SERVER_RPC_INTERACT_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "hookwire/v1/service.pb.h"
#include "server/rpc/backend.h"
#include "server/rpc/run_session.h"
#include "server/rpc/uploads.h"
#include "server/stream/message_writer.h"

namespace hookwire::server {

// Lives until gRPC has done with the call and the scheduler has let go of the run. What the client
// sends is read on gRPC's thread, one message after another.
class InteractCall final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                           private MessageWriter {
 public:
  // `backend` must outlive the call.
  static InteractCall* Start(const Backend& backend, std::string id,
                             grpc::CallbackServerContext& context);

 private:
  InteractCall(const Backend& backend, std::string id, grpc::CallbackServerContext& context)
      : backend_(backend),
        context_(context),
        session_(backend, std::move(id), context.peer(), *this) {}

  // What the client sends. An error ends the call.
  absl::Status Take(const grpc::ByteBuffer& bytes);
  absl::Status TakeSpec(v1::RunSpec& spec);
  absl::Status TakeUpload(const v1::TensorChunks& pieces);
  // The client sends no more.
  absl::Status TakeEnd();
  absl::Status BeginIfComplete();
  void End(const absl::Status& status);

  // grpc::ServerBidiReactor
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // MessageWriter
  void Write(const grpc::ByteBuffer& message) override;
  void WriteAndClose(const grpc::ByteBuffer& message) override;
  void Close(const absl::Status& status) override;
  void Break(const absl::Status& status) override;

  const Backend& backend_;
  // Between the thread that begins the run and the one that is told of its cancellation.
  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  // Gone after OnDone, which may come before the scheduler has let go of the run.
  grpc::CallbackServerContext& context_;
  RunSession session_;
  bool has_spec_ = false;
  // Until all uploads have come.
  v1::RunSpec spec_;
  Uploads uploads_;
  // What gRPC is reading and writing.
  grpc::ByteBuffer received_;
  grpc::ByteBuffer message_;
  // Until OnDone.
  std::shared_ptr<InteractCall> self_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_INTERACT_CALL_H_
