#include "server/stream/stream_registry.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"

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

void StreamRegistry::Add(ResultStream* stream) {
  absl::MutexLock lock(&mutex_);
  streams_.insert(stream);
  if (!abandoned_.ok()) stream->Abandon(abandoned_);
}

void StreamRegistry::Remove(ResultStream* stream) {
  absl::MutexLock lock(&mutex_);
  streams_.erase(stream);
}

void StreamRegistry::AbandonAll(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  abandoned_ = status;
  for (ResultStream* stream : streams_) stream->Abandon(status);
}

size_t StreamRegistry::size() const {
  const absl::MutexLock lock(&mutex_);
  return streams_.size();
}

bool StreamRegistry::WaitUntilEmpty(absl::Time deadline) const {
  absl::MutexLock lock(&mutex_);
  const auto empty = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return streams_.empty(); };
  return mutex_.AwaitWithDeadline(absl::Condition(&empty), deadline);
}

absl::Time StreamRegistry::EndStalled(absl::Time now) {
  absl::MutexLock lock(&mutex_);
  // A reader that stands still from now on is given up no earlier than this.
  absl::Time next = now + stall_timeout_;
  for (ResultStream* stream : streams_) {
    const absl::Time end = stream->waiting_since() + stall_timeout_;
    if (end > now) {
      next = std::min(next, end);
      continue;
    }
    stream->Abandon(MakeError(
        absl::StrCat("the client has read nothing for ", absl::FormatDuration(stall_timeout_),
                     ": the run was ended so that others can go on"),
        {v1::ERROR_REASON_READER_STALLED,
         "",
         {{"seconds", absl::StrCat(absl::ToDoubleSeconds(stall_timeout_))}}}));
  }
  return next;
}

void StreamRegistry::Watch() {
  absl::Duration pause = absl::ZeroDuration();
  absl::MutexLock lock(&mutex_);
  const auto stop = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stop_; };
  const auto awake = [this]()
                         ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stop_ || !streams_.empty(); };
  while (true) {
    if (mutex_.AwaitWithTimeout(absl::Condition(&stop), pause)) return;
    // Without streams the thread sleeps.
    mutex_.Await(absl::Condition(&awake));
    if (stop_) return;
    mutex_.Unlock();
    const absl::Time now = clock_.Now();
    pause = EndStalled(now) - now;
    mutex_.Lock();
  }
}

}  // namespace hookwire::server
