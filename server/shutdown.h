// Ends the daemon in bounded time.
#ifndef HOOKWIRE_SERVER_SHUTDOWN_H_
#define HOOKWIRE_SERVER_SHUTDOWN_H_

#include <spdlog/logger.h>

#include <functional>

#include "absl/time/time.h"
#include "server/signals.h"

namespace hookwire::server {

struct Shutdown {
  // How long runs that have started may continue. A signal ends that time.
  absl::Duration grace_period;
  // How long `stop` and `destroy` may take together. A run ends before the next step of its pass, a
  // matter of milliseconds; but a step may be long, and what is in the way may be a fault.
  absl::Duration stop_time = absl::Seconds(2);

  // Takes no more runs (Daemon::Drain).
  std::function<void()> drain;
  // Waits until no run is left, for at most `timeout` (Daemon::WaitUntilIdle).
  std::function<void(absl::Duration timeout)> wait_until_idle;
  // Cancels the runs that are left, so that wait_until_idle returns (Daemon::Stop). May block.
  std::function<void()> stop;
  // Frees the daemon. May block.
  std::function<void()> destroy;
  // Ends the process at once.
  std::function<void()> end_process;
};

// Drains, gives runs the grace period, stops and destroys. Once the last two have taken
// `stop_time`, or when another signal has come, calls `end_process`. `signals` must have no other
// reader.
void ShutDown(const Shutdown& shutdown, const Signals& signals, spdlog::logger& logger);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_SHUTDOWN_H_
