// Waiting for what other threads do.
#ifndef HOOKWIRE_TESTS_UNIT_LOCAL_EVENTUALLY_H_
#define HOOKWIRE_TESTS_UNIT_LOCAL_EVENTUALLY_H_

#include <functional>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace hookwire::server {

// Whether it becomes true: what the threads do is seen a little later.
inline bool Eventually(const std::function<bool()>& condition) {
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return true;
}

}  // namespace hookwire::server

#endif  // HOOKWIRE_TESTS_UNIT_LOCAL_EVENTUALLY_H_
