// Waits for SIGTERM and SIGINT.
#ifndef HOOKWIRE_SERVER_SIGNALS_H_
#define HOOKWIRE_SERVER_SIGNALS_H_

#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace hookwire::server {

// Thread-safe. Signals are blocked and read from a descriptor (signalfd), so no handler interrupts
// a thread.
class Signals {
 public:
  // Blocks the signals in this thread and in all threads that it starts from now on, so call it
  // before any other thread is started. The error names the system call's cause.
  static absl::StatusOr<Signals> Create();
  ~Signals();
  Signals(Signals&& other) noexcept;
  Signals& operator=(Signals&&) = delete;

  // Waits for a signal and returns its number, or 0 after Wake.
  int Wait() const { return *WaitFor(absl::InfiniteDuration()); }
  // The same for at most `timeout`: nothing after that.
  std::optional<int> WaitFor(absl::Duration timeout) const;
  // Lets one of the waiting calls return 0, once.
  void Wake() const;

 private:
  Signals(int signals, int wake) : signals_(signals), wake_(wake) {}

  int signals_;
  int wake_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_SIGNALS_H_
