#include "server/rpc/weight_call.h"

#include <grpc/grpc.h>

#include <cstdint>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "server/errors/status_macros.h"
#include "server/rpc/check_load.h"
#include "server/rpc/handle_request.h"
#include "server/rpc/status.h"

namespace hookwire::server {

// The message that is being sent, if any, and the call to end if it is not read in time.
class WeightCall::Watch {
 public:
  explicit Watch(grpc::CallbackServerContext& context) : context_(&context) {}

  // A message is being sent. Returns its number.
  uint64_t Begin() {
    absl::MutexLock lock(&mutex_);
    waiting_ = true;
    return ++messages_;
  }

  void Taken() {
    absl::MutexLock lock(&mutex_);
    waiting_ = false;
  }

  // Ends the call if that message is still being sent.
  void Rang(uint64_t message) {
    grpc_call* call = nullptr;
    {
      absl::MutexLock lock(&mutex_);
      if (!waiting_ || messages_ != message) return;
      call = context_->c_call();
      // Without this reference, the call may be destroyed as soon as the mutex is released.
      grpc_call_ref(call);
    }
    BreakOff(call, absl::DeadlineExceededError("the reader has read nothing for too long"));
    grpc_call_unref(call);
  }

 private:
  absl::Mutex mutex_;
  // Valid while a message is being sent.
  grpc::CallbackServerContext* const context_;
  bool waiting_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t messages_ ABSL_GUARDED_BY(mutex_) = 0;
};

WeightCall::WeightCall(const Backend& backend, grpc::CallbackServerContext& context, Caller caller)
    : backend_(backend),
      caller_(std::move(caller)),
      memory_(backend.request_memory.Open(caller_.principal.key)),
      watch_(std::make_shared<Watch>(context)) {}

WeightCall* WeightCall::Start(const Backend& backend, grpc::CallbackServerContext& context,
                              Caller caller, const grpc::ByteBuffer& request) {
  auto* const call = new WeightCall(backend, context, std::move(caller));
  call->Step([&] { return call->Open(request); });
  return call;
}

absl::Status WeightCall::Open(const grpc::ByteBuffer& request) {
  HOOKWIRE_RETURN_IF_ERROR(memory_->Grow(request.Valid() ? request.Length() : 0));
  // One step for each row that has to be sorted.
  const auto work = [](const v1::GetWeightRequest& message) {
    return static_cast<uint64_t>(message.rows().indices().values_size());
  };
  const auto handle = [this](const auto& decode) {
    Step([&]() -> absl::Status {
      if (cancelled_) return ClientGone();
      HOOKWIRE_ASSIGN_OR_RETURN(const v1::GetWeightRequest message, decode());
      HOOKWIRE_RETURN_IF_ERROR(CheckLoad(backend_, message.load_id()));
      HOOKWIRE_RETURN_IF_ERROR(memory_->Grow(message.SpaceUsedLong()));
      HOOKWIRE_ASSIGN_OR_RETURN(
          reader_, WeightReader::Open(backend_.parameters, message, backend_.weights_digest()));
      return WriteNext();
    });
  };
  return HandleRequest<v1::GetWeightRequest>(backend_.planning_threads, caller_.principal.key,
                                             request, work, handle);
}

absl::StatusOr<std::optional<grpc::ByteBuffer>> WeightCall::Next() {
  // Also after the last message: everything that was sent must come from the weights as loaded.
  HOOKWIRE_RETURN_IF_ERROR(backend_.weights_guard.Check());
  return reader_->Next();
}

absl::Status WeightCall::WriteNext() {
  HOOKWIRE_ASSIGN_OR_RETURN(std::optional<grpc::ByteBuffer> message, Next());
  if (!message.has_value()) {
    Finish(grpc::Status::OK);
    return absl::OkStatus();
  }
  message_ = *std::move(message);
  const auto ring = [watch = watch_, number = watch_->Begin()](bool rang) {
    if (rang) watch->Rang(number);
  };
  alarm_.emplace().Set(absl::ToChronoTime(absl::Now() + backend_.stall_timeout), ring);
  StartWrite(&message_);
  return absl::OkStatus();
}

void WeightCall::OnWriteDone(bool ok) {
  Step([&] {
    watch_->Taken();
    alarm_.reset();
    message_.Clear();
    return ok ? WriteNext() : ClientGone();
  });
}

}  // namespace hookwire::server
