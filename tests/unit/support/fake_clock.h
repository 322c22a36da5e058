// A clock that stands still until a test moves it.
#ifndef HOOKWIRE_TESTS_UNIT_SUPPORT_FAKE_CLOCK_H_
#define HOOKWIRE_TESTS_UNIT_SUPPORT_FAKE_CLOCK_H_

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/observe/clock.h"

namespace hookwire::server {

// Thread-safe.
class FakeClock final : public Clock {
 public:
  absl::Time Now() const override {
    absl::MutexLock lock(&mutex_);
    return now_;
  }
  void Advance(absl::Duration duration) {
    absl::MutexLock lock(&mutex_);
    now_ += duration;
  }

 private:
  mutable absl::Mutex mutex_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_) = absl::UnixEpoch();
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_TESTS_UNIT_SUPPORT_FAKE_CLOCK_H_
