// One call of Interact: its reactor. A run as in run_call.h, whose client also sends: values that
// are large, and answers to callbacks.
#ifndef HOOKWIRE_SERVER_RPC_INTERACT_CALL_H_
#define HOOKWIRE_SERVER_RPC_INTERACT_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "hookwire/v1/service.pb.h"
#include "server/rpc/backend.h"
#include "server/rpc/run_reactor.h"
#include "server/rpc/uploads.h"

namespace hookwire::server {

// What the client sends is read on gRPC's thread, one message after another.
class InteractCall final
    : public RunReactor<grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>> {
 public:
  // `backend` must outlive the call.
  static InteractCall* Start(const Backend& backend, std::string id,
                             grpc::CallbackServerContext& context);

 private:
  InteractCall(const Backend& backend, std::string id, grpc::CallbackServerContext& context)
      : RunReactor(backend, std::move(id), context), backend_(backend) {}

  void ReadNext();
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
  void OnCancel() override;

  const Backend& backend_;
  // Between the thread that begins the run and the one that is told of its cancellation.
  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool has_spec_ = false;
  // Until all uploads have come.
  v1::RunSpec spec_;
  Uploads uploads_;
  // What gRPC is reading.
  grpc::ByteBuffer received_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_INTERACT_CALL_H_
