#include "server/shutdown.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "server/observe/logging.h"

namespace hookwire::server {
namespace {

void EndAtTheLatest(const Shutdown& shutdown, const Signals& signals,
                    const absl::Notification& stopped, spdlog::logger& logger) {
  const absl::Time deadline = absl::Now() + shutdown.stop_time;
  std::optional<int> signal = 0;
  while (signal == 0) {
    if (stopped.HasBeenNotified()) return;
    signal = signals.WaitFor(deadline - absl::Now());
  }
  LogEvent(logger, spdlog::level::warn, "stopped before all runs and connections had ended",
           {{"cause", signal.has_value() ? "another signal" : "it took too long"}});
  logger.flush();
  shutdown.end_process();
}

}  // namespace

void ShutDown(const Shutdown& shutdown, const Signals& signals, spdlog::logger& logger) {
  shutdown.drain();
  std::thread idle([&] {
    shutdown.wait_until_idle(shutdown.grace_period);
    signals.Wake();
  });
  if (signals.Wait() != 0) {
    LogEvent(logger, spdlog::level::info, "second signal: cancelling all runs", {});
  }
  absl::Notification stopped;
  std::thread limit([&] { EndAtTheLatest(shutdown, signals, stopped, logger); });
  shutdown.stop();
  idle.join();
  shutdown.destroy();
  stopped.Notify();
  signals.Wake();
  limit.join();
}

}  // namespace hookwire::server
