// One call of Interact: its reactor. A run as in run_call.h, whose client also sends: values that
// are large, and answers to callbacks.
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

// Until the run begins, the call is in the backend's registry of requests, which ends it where the
// client sends nothing, or next to nothing, for too long, and at shutdown. What the client sends is
// read one message after another; the spec may be decoded and planned on a planning thread, and
// nothing is read meanwhile.
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

  // Who may touch the request, and end the call.
  enum class Phase {
    // A message is being read, and nobody else works at the call.
    kReading,
    // A message has come and is being handled.
    kHandling,
    // The run has begun, or the call has been ended.
    kOver,
  };

  // kReading to kHandling; false where the call has been ended.
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
  // The client sends no more.
  absl::Status TakeEnd();
  void End(const absl::Status& status);
  // The run has begun, or the call ends: the registry forgets it.
  void LeaveRequests();

  // grpc::ServerBidiReactor
  void OnReadDone(bool ok) override;
  void OnDone() override;

  // WatchedCall, of a request on its way.
  absl::Time waiting_since() const override;
  absl::Status StallError(absl::Duration timeout) const override;
  void Abandon(const absl::Status& status) override;

  mutable absl::Mutex mutex_;
  Phase phase_ ABSL_GUARDED_BY(mutex_) = Phase::kHandling;
  // Why the call has to end, once whoever handles a message is done.
  absl::Status abandoned_ ABSL_GUARDED_BY(mutex_);
  RequestPace pace_ ABSL_GUARDED_BY(mutex_);

  bool has_spec_ = false;
  // Until all uploads have come.
  v1::RunSpec spec_;
  Uploads uploads_;
  // What gRPC is reading.
  grpc::ByteBuffer received_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_INTERACT_CALL_H_
