// The reactor of one Interact call: a run as in run_call.h, whose client also sends large values
// and answers to callbacks.
#ifndef HOOKWIRE_SERVER_RPC_INTERACT_CALL_H_
#define HOOKWIRE_SERVER_RPC_INTERACT_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "hookwire/v1/service.pb.h"
#include "server/rpc/backend.h"
#include "server/rpc/caller.h"
#include "server/rpc/request_pace.h"
#include "server/rpc/run_reactor.h"
#include "server/rpc/uploads.h"
#include "server/stream/watched_call.h"

namespace hookwire::server {

// Until the run begins, the call is in the backend's registry of requests, which ends it if the
// client sends nothing, or too little, for too long, and at shutdown. Messages are read one after
// another; the spec may be decoded and planned on a planning thread, and no message is read until
// that is done.
class InteractCall final
    : public RunReactor<grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>>,
      private WatchedCall {
 public:
  // `backend` must outlive the call.
  static InteractCall* Start(const Backend& backend, std::string id,
                             grpc::CallbackServerContext& context, Caller caller);

 private:
  InteractCall(const Backend& backend, std::string id, grpc::CallbackServerContext& context,
               Caller caller);

  // Which thread may use the request and end the call.
  enum class Phase {
    // gRPC reads a message; no thread works on the call.
    kReading,
    // A thread handles a message.
    kHandling,
    // The run has begun, or the call has ended.
    kOver,
  };

  // From kReading to kHandling; false if the call has ended.
  bool StartHandling(bool received);
  // Reads the next message, unless the call has to end.
  void ReadNext();
  // Handles what was read. An error ends the call.
  absl::Status Handle(bool received);
  absl::Status HandleFirst();
  absl::Status Take(v1::InteractRequest& request);
  absl::Status TakeSpec(v1::RunSpec& spec);
  absl::Status TakeUpload(const v1::TensorChunks& pieces);
  absl::Status BeginIfComplete();
  // The client has half-closed: it sends no more.
  absl::Status TakeEnd();
  void End(const absl::Status& status);
  // Removes the call from the registry of requests, when its run has begun or it ends.
  void LeaveRequests();

  // grpc::ServerBidiReactor
  void OnReadDone(bool ok) override;
  void OnDone() override;

  // WatchedCall, while the request is being sent.
  absl::Time waiting_since() const override;
  absl::Status StallError(absl::Duration timeout) const override;
  void Abandon(const absl::Status& status) override;

  mutable absl::Mutex mutex_;
  Phase phase_ ABSL_GUARDED_BY(mutex_) = Phase::kHandling;
  // If not OK: why the call has to end when the thread that handles a message is done.
  absl::Status abandoned_ ABSL_GUARDED_BY(mutex_);
  RequestPace pace_ ABSL_GUARDED_BY(mutex_);

  bool has_spec_ = false;
  // The request, until all uploads have come.
  v1::RunSpec spec_;
  Uploads uploads_;
  // The message that gRPC is reading.
  grpc::ByteBuffer received_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_INTERACT_CALL_H_
