#include "server/stream/stream_registry.h"

#include <algorithm>

namespace hookwire::server {

StreamRegistry::StreamRegistry(absl::Duration stall_timeout, const Clock& clock)
    : stall_timeout_(stall_timeout), clock_(clock), thread_([this] { Watch(); }) {}

StreamRegistry::~StreamRegistry() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  thread_.join();
}

void StreamRegistry::Add(WatchedCall* call) {
  absl::MutexLock lock(&mutex_);
  calls_.insert(call);
  if (!abandoned_.ok()) call->Abandon(abandoned_);
}

void StreamRegistry::Remove(WatchedCall* call) {
  absl::MutexLock lock(&mutex_);
  calls_.erase(call);
}

void StreamRegistry::AbandonAll(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  abandoned_ = status;
  for (WatchedCall* call : calls_) call->Abandon(status);
}

size_t StreamRegistry::size() const {
  const absl::MutexLock lock(&mutex_);
  return calls_.size();
}

bool StreamRegistry::WaitUntilEmpty(absl::Time deadline) const {
  absl::MutexLock lock(&mutex_);
  const auto empty = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return calls_.empty(); };
  return mutex_.AwaitWithDeadline(absl::Condition(&empty), deadline);
}

absl::Time StreamRegistry::EndStalled(absl::Time now) {
  absl::MutexLock lock(&mutex_);
  // A call that starts to wait after this look is not too late before `now` and the timeout.
  absl::Time next = now + stall_timeout_;
  for (WatchedCall* call : calls_) {
    const absl::Time end = call->waiting_since() + stall_timeout_;
    if (end > now) {
      next = std::min(next, end);
      continue;
    }
    call->Abandon(call->StallError(stall_timeout_));
  }
  return next;
}

void StreamRegistry::Watch() {
  absl::Duration pause = absl::ZeroDuration();
  absl::MutexLock lock(&mutex_);
  const auto stop = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stop_; };
  const auto awake = [this]()
                         ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stop_ || !calls_.empty(); };
  while (true) {
    if (mutex_.AwaitWithTimeout(absl::Condition(&stop), pause)) return;
    // Without calls there is nothing to look at, however long that lasts.
    mutex_.Await(absl::Condition(&awake));
    if (stop_) return;
    mutex_.Unlock();
    const absl::Time now = clock_.Now();
    pause = EndStalled(now) - now;
    mutex_.Lock();
  }
}

}  // namespace hookwire::server
