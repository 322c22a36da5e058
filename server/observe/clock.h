// The current time, as an interface, so that tests can set it.
#ifndef HOOKWIRE_SERVER_OBSERVE_CLOCK_H_
#define HOOKWIRE_SERVER_OBSERVE_CLOCK_H_

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace hookwire::server {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;
};

class RealClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_OBSERVE_CLOCK_H_
