#include "server/rpc/weight_call.h"

#include <grpc/grpc.h>

#include <cstdint>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "server/errors/status_macros.h"
#include "server/rpc/status.h"

namespace hookwire::server {

// Which message the reader owes an answer to, if any.
class WeightCall::Watch {
 public:
  explicit Watch(grpc::CallbackServerContext& context) : context_(&context) {}

  // A message is on its way; its number.
  uint64_t Begin() {
    absl::MutexLock lock(&mutex_);
    waiting_ = true;
    return ++messages_;
  }

  void Taken() {
    absl::MutexLock lock(&mutex_);
    waiting_ = false;
  }

  // Breaks the call off, if it still waits for that message.
  void Rang(uint64_t message) {
    grpc_call* call = nullptr;
    {
      absl::MutexLock lock(&mutex_);
      if (!waiting_ || messages_ != message) return;
      call = context_->c_call();
      // The call may end as soon as the lock is gone, and it may end inside the next line.
      grpc_call_ref(call);
    }
    BreakOff(call, absl::DeadlineExceededError("the reader has read nothing for too long"));
    grpc_call_unref(call);
  }

 private:
  absl::Mutex mutex_;
  // There for as long as a message is waited for.
  grpc::CallbackServerContext* const context_;
  bool waiting_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t messages_ ABSL_GUARDED_BY(mutex_) = 0;
};

WeightCall::WeightCall(grpc::CallbackServerContext& context, absl::StatusOr<WeightReader> reader,
                       WeightsGuard& guard, absl::Duration stall_timeout)
    : reader_(std::move(reader)),
      guard_(guard),
      stall_timeout_(stall_timeout),
      watch_(std::make_shared<Watch>(context)) {
  if (reader_.ok()) {
    WriteNext();
  } else {
    Finish(ToGrpcStatus(reader_.status()));
  }
}

absl::StatusOr<std::optional<grpc::ByteBuffer>> WeightCall::Next() {
  // Behind the last message too: what has been written was made of weights as they were loaded.
  HOOKWIRE_RETURN_IF_ERROR(guard_.Check());
  return reader_->Next();
}

void WeightCall::WriteNext() {
  absl::StatusOr<std::optional<grpc::ByteBuffer>> message = Next();
  if (!message.ok() || !message->has_value()) {
    Finish(ToGrpcStatus(message.status()));
    return;
  }
  message_ = **std::move(message);
  const auto ring = [watch = watch_, number = watch_->Begin()](bool rang) {
    if (rang) watch->Rang(number);
  };
  alarm_.emplace().Set(absl::ToChronoTime(absl::Now() + stall_timeout_), ring);
  StartWrite(&message_);
}

void WeightCall::OnWriteDone(bool ok) {
  watch_->Taken();
  alarm_.reset();
  message_.Clear();
  if (ok) {
    WriteNext();
  } else {
    Finish(grpc::Status::CANCELLED);
  }
}

void WeightCall::OnDone() { delete this; }

}  // namespace hookwire::server
