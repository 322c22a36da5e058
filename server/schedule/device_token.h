// Which pass has the device: one at a time, in the order in which they asked for it.
#ifndef HOOKWIRE_SERVER_SCHEDULE_DEVICE_TOKEN_H_
#define HOOKWIRE_SERVER_SCHEDULE_DEVICE_TOKEN_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace hookwire::server {

// Thread-safe.
class DeviceToken {
 public:
  // Blocks until all threads that asked earlier have had the device and released it.
  void Acquire() {
    absl::MutexLock lock(&mutex_);
    const uint64_t ticket = next_++;
    const auto is_my_turn = [this, ticket]()
                                ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return now_ == ticket; };
    mutex_.Await(absl::Condition(&is_my_turn));
  }

  // REQUIRES: the caller holds it.
  void Release() {
    absl::MutexLock lock(&mutex_);
    ++now_;
  }

  // Lets the threads that wait have the device, and takes it again after them. REQUIRES: the caller
  // holds it.
  void Yield() {
    {
      absl::MutexLock lock(&mutex_);
      if (next_ == now_ + 1) return;
    }
    Release();
    Acquire();
  }

 private:
  absl::Mutex mutex_;
  uint64_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t now_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_SCHEDULE_DEVICE_TOKEN_H_
