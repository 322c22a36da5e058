// The common part of all calls: reads the request, and ends a call whose client stands still.
#ifndef HOOKWIRE_SERVER_RPC_SERVED_CALL_H_
#define HOOKWIRE_SERVER_RPC_SERVED_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/errors/status_macros.h"
#include "server/memory/request_memory.h"
#include "server/rpc/backend.h"
#include "server/rpc/caller.h"
#include "server/rpc/guard.h"
#include "server/rpc/handle_request.h"
#include "server/rpc/request_pace.h"
#include "server/rpc/request_reads.h"
#include "server/stream/stream_registry.h"
#include "server/stream/watched_call.h"

namespace hookwire::server {

// To gRPC every call is a stream in both directions, also one with a single request: only then does
// gRPC call us before it has read the request, so that the memory for it is counted, and a client
// that does not send it is noticed.
//
// From its beginning to its end a call is in one of the backend's registries, which ends it with
// DEADLINE_EXCEEDED if no whole message comes from the client (SENDER_STALLED), or the client reads
// nothing (READER_STALLED), for the stall timeout. gRPC does not say how much of a message has
// come. A run that has begun is no longer there: its result stream is watched instead.
//
// Exists until gRPC has called OnDone, and as long as others hold it.
class ServedCall : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                   public std::enable_shared_from_this<ServedCall>,
                   private RequestReads::Reader,
                   private WatchedCall {
 public:
  // Registers a call that has been admitted, and reads its request when its turn comes. Returns
  // what gRPC wants to be given. gRPC calls the reactor only after this has been returned to it, so
  // the call still exists.
  static ServedCall* Start(const std::shared_ptr<ServedCall>& call);

  // CANCELLED or DEADLINE_EXCEEDED when the client no longer waits for an answer, or why the call
  // has to end.
  absl::Status KeepGoing() const;
  // When the client stops waiting.
  absl::Time deadline() const { return deadline_; }

 protected:
  // `backend` and `registry` must outlive the call.
  ServedCall(const Backend& backend, StreamRegistry& registry, grpc::CallbackServerContext& context,
             Caller caller);
  ~ServedCall() override = default;

  // Handles a message, now or later. Its bytes are charged to memory(). An error ends the call.
  // Called by gRPC; while it works no other of these functions is called.
  virtual absl::Status Receive(const grpc::ByteBuffer& message) = 0;
  // The client sends no more. An error ends the call.
  virtual absl::Status ReceiveEnd();
  // A message has been sent. An error ends the call.
  virtual absl::Status Sent();
  // Ends the call with an error, from Receive, ReceiveEnd, Sent or a planning thread.
  virtual void Fail(const absl::Status& status) { Refuse(status); }

  // Runs `body` on a planning thread, or later in the call; ends the call if it returns an error or
  // throws.
  template <typename Body>
  void Step(Body&& body) {
    TakeOverCall();
    const auto self = shared_from_this();
    const absl::Status status = Guarded(std::forward<Body>(body));
    HandOverCall();
    if (!status.ok()) Fail(status);
  }

  // Parses a message as HandleRequest does and gives it to `body`, now or later on a planning
  // thread, unless nobody waits for the call any more. An error ends the call.
  template <typename Request, typename Work, typename Body>
  absl::Status Parse(const grpc::ByteBuffer& bytes, const Work& work, Body body) {
    const auto handle = [this, self = shared_from_this(), body](const auto& decode) {
      Step([&]() -> absl::Status {
        HOOKWIRE_RETURN_IF_ERROR(KeepGoing());
        HOOKWIRE_ASSIGN_OR_RETURN(Request request, decode());
        return body(request);
      });
    };
    return HandleRequest<Request>(backend_.planning_threads, caller_.principal.key, *memory_, bytes,
                                  work, handle);
  }

  // One of these is the last thing that the thread which handles the call does: the call may be
  // destroyed when it returns, unless the caller holds it.
  //
  // Reads the next message, unless the call has to end.
  void Read();
  // Sends a message; then Sent is called.
  void Send(const grpc::ByteBuffer& message);
  // Sends the last message, and OK.
  void SendLast(const grpc::ByteBuffer& message);
  void Refuse(const absl::Status& status);
  void EndWithOk() { Refuse(absl::OkStatus()); }

  // From now on the call is watched by others.
  void LeaveRegistry();
  // Ends the call at once, whatever gRPC is doing with it.
  void Break(const absl::Status& status);

  // grpc::ServerBidiReactor
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void HandOverCall();
  void TakeOverCall();

  const Backend& backend_;
  grpc::CallbackServerContext& context_;
  // Destroyed after OnDone.
  const Caller caller_;
  // What the request holds until the call ends.
  const std::shared_ptr<RequestMemory::Lease> memory_;
  // What gRPC sends.
  grpc::ByteBuffer message_;

 private:
  // Whose move it is.
  enum class Phase {
    // The call waits for its turn to be read.
    kQueued,
    // gRPC reads a message.
    kReading,
    // A thread handles a message.
    kHandling,
    // gRPC sends a message, or the end.
    kSending,
    // The registry has nothing more to do with the call.
    kLeft,
  };

  absl::Status HandleMessage(bool ok);
  // From `from` to kHandling; false if the call is not, or no longer, in that phase.
  bool Handle(Phase from);
  // From kHandling to kSending. If the call has to end: why.
  absl::Status StartSending();
  void GiveTurnBack();
  void StartReading() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // RequestReads::Reader
  void TurnCame() override;

  // WatchedCall
  absl::Time waiting_since() const override;
  absl::Status StallError(absl::Duration timeout) const override;
  void Abandon(const absl::Status& status) override;

  StreamRegistry& registry_;
  const absl::Time deadline_;
  std::atomic<bool> cancelled_ = false;

  mutable absl::Mutex mutex_;
  Phase phase_ ABSL_GUARDED_BY(mutex_) = Phase::kQueued;
  // If not OK: why the call has to end when the thread that handles it is done.
  absl::Status abandoned_ ABSL_GUARDED_BY(mutex_);
  // Since the call's turn to be read.
  std::optional<RequestPace> pace_ ABSL_GUARDED_BY(mutex_);
  absl::Time sending_since_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  bool has_turn_ ABSL_GUARDED_BY(mutex_) = false;

  // The message that gRPC reads.
  grpc::ByteBuffer received_;
  bool has_request_ = false;
  // Keeps the call until OnDone.
  std::shared_ptr<ServedCall> self_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_SERVED_CALL_H_
