// hookwired: serves a checkpoint until SIGTERM or SIGINT.
//
// Exit status: 0 after one of these signals, 2 if the server could not start (one line on stderr
// says why).

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/daemon.h"
#include "server/memory/block_cache.h"
#include "server/observe/logging.h"
#include "server/options.h"
#include "server/shutdown.h"
#include "server/signals.h"

namespace hookwire::server {
namespace {

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "hookwired: %s\n", std::string(status.message()).c_str());
  return 2;
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
  std::unique_ptr<Daemon> served = *std::move(daemon);
  ShutDown({.grace_period = options->grace_period,
            .drain = [&] { served->Drain(); },
            .wait_until_idle = [&](absl::Duration timeout) { served->WaitUntilIdle(timeout); },
            .stop = [&] { served->Stop(); },
            .destroy = [&] { served = nullptr; },
            .end_process = [] { _exit(0); }},
           *signals, *logger);
  LogEvent(*logger, spdlog::level::info, "stopped", {});
  return 0;
}

}  // namespace
}  // namespace hookwire::server

int main(int argc, char** argv) {
  return hookwire::server::Main(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
}
