// hookwired: serves a checkpoint until SIGTERM or SIGINT.
//
// Exit status: 0 after one of these signals, 2 if the server could not start (one line on stderr
// says why).

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/daemon.h"
#include "server/memory/block_cache.h"
#include "server/observe/logging.h"
#include "server/options.h"
#include "server/signals.h"

namespace hookwire::server {
namespace {

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "hookwired: %s\n", std::string(status.message()).c_str());
  return 2;
}

// How long cancelled runs and open connections may take to end. A run ends before the next step of
// its pass, a matter of milliseconds; but a step may be long, and what is in the way may be a
// fault.
constexpr absl::Duration kStopTime = absl::Seconds(2);

// Ends the process after kStopTime, or at the next signal, unless `ended` comes first.
void EndAtTheLatest(const Signals& signals, const absl::Notification& ended,
                    spdlog::logger& logger) {
  const absl::Time deadline = absl::Now() + kStopTime;
  std::optional<int> signal = 0;
  while (signal == 0) {
    if (ended.HasBeenNotified()) return;
    signal = signals.WaitFor(deadline - absl::Now());
  }
  LogEvent(logger, spdlog::level::warn, "stopped before all runs and connections had ended",
           {{"cause", signal.has_value() ? "another signal" : "it took too long"}});
  logger.flush();
  _exit(0);
}

// Lets runs end by themselves for the grace period, or until a second signal; then cancels them. It
// returns within kStopTime of that, or the process ends.
void ShutDown(std::unique_ptr<Daemon> daemon, const Signals& signals, absl::Duration grace_period,
              spdlog::logger& logger) {
  daemon->Drain();
  std::thread idle([&] {
    daemon->WaitUntilIdle(grace_period);
    signals.Wake();
  });
  const bool hurry = signals.Wait() != 0;
  if (hurry) LogEvent(logger, spdlog::level::info, "second signal: cancelling all runs", {});
  absl::Notification ended;
  std::thread limit([&] { EndAtTheLatest(signals, ended, logger); });
  daemon->Stop();
  idle.join();
  daemon = nullptr;
  ended.Notify();
  signals.Wake();
  limit.join();
}

int Main(const std::vector<std::string>& arguments) {
  const absl::StatusOr<Options> options = ParseOptions(arguments);
  if (!options.ok()) return Fail(options.status());
  if (options->help || options->version) {
    std::puts(options->help ? HelpText().c_str() : BuildName().c_str());
    return 0;
  }
  const absl::StatusOr<Signals> signals = Signals::Create();
  if (!signals.ok()) return Fail(signals.status());
  signal(SIGPIPE, SIG_IGN);
  BlockCache::InstallGlobal();

  const std::shared_ptr<spdlog::logger> logger =
      MakeLogger(options->log_format, options->log_level);
  CaptureLibraryLogs(logger);
  // Loading may take minutes. A signal ends the process at once: nothing has been written that
  // would be lost.
  std::thread ends_loading([&signals] {
    if (signals->Wait() != 0) _exit(0);
  });
  absl::StatusOr<std::unique_ptr<Daemon>> daemon = Daemon::Start(*options, logger);
  signals->Wake();
  ends_loading.join();
  if (!daemon.ok()) return Fail(daemon.status());
  std::printf("hookwired ready at %s\n", (*daemon)->address().c_str());
  std::fflush(stdout);

  const int signal_number = signals->Wait();
  LogEvent(*logger, spdlog::level::info, "shutting down",
           {{"signal", signal_number == SIGINT ? "SIGINT" : "SIGTERM"},
            {"grace_s", absl::ToDoubleSeconds(options->grace_period)}});
  ShutDown(*std::move(daemon), *signals, options->grace_period, *logger);
  LogEvent(*logger, spdlog::level::info, "stopped", {});
  return 0;
}

}  // namespace
}  // namespace hookwire::server

int main(int argc, char** argv) {
  return hookwire::server::Main(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
}
