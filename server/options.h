// The daemon's flags and its TOML file.
#ifndef HOOKWIRE_SERVER_OPTIONS_H_
#define HOOKWIRE_SERVER_OPTIONS_H_

#include <c10/core/ScalarType.h>
#include <spdlog/common.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "model/numerics.h"
#include "server/observe/digest_cache.h"
#include "server/observe/logging.h"
#include "server/rpc/listen_address.h"

namespace hookwire::server {

struct Options {
  // The checkpoint directory.
  std::string model;
  ListenAddress listen = {"127.0.0.1", 7431};
  // As OpenDevices takes them (device.h).
  std::vector<std::string> devices = {"cpu"};
  // Absent: the checkpoint's own.
  std::optional<at::ScalarType> dtype;
  model::Numerics numerics = model::Numerics::kFast;
  // Compute threads; 0 means one for each core that the process may use.
  int threads = 0;

  LogFormat log_format = LogFormat::kText;
  spdlog::level::level_enum log_level = spdlog::level::info;

  // Of one run; 0 means no limit.
  uint64_t max_result_mb = 8192;
  // What one forward pass works with, weights apart; absent means half of the device's free memory
  // at the start, and 0 no limit.
  std::optional<uint64_t> max_activation_mb;
  // Of one run.
  uint64_t max_tokens = 65'536;
  // Of one forward pass; absent means what the device computes about as fast a token as more:
  // 1024 on cpu, else 8192.
  std::optional<uint64_t> max_batch_tokens;
  // How long a pass that could take more runs waits for them.
  absl::Duration max_batch_delay = absl::ZeroDuration();
  // Of the uploaded values of one run.
  uint64_t max_upload_mb = 1024;
  // What requests hold before and while they run (RequestMemory); absent: RequestMemoryMb.
  std::optional<uint64_t> request_memory_mb;
  // Calls of one client that are open; absent: MaxCalls.
  std::optional<size_t> max_calls;
  // Runs that have started and may wait for their clients' functions.
  int max_interactive = 4;
  // Runs that have started and may wait for their readers, because their results outgrow the
  // buffer.
  int max_paced = 4;
  // How long such a run may wait while others want its place.
  absl::Duration hook_timeout = absl::Seconds(30);
  // Runs that wait.
  size_t max_queue = 1024;
  // How long a run may wait for its turn.
  absl::Duration max_queue_time = absl::Minutes(5);
  // Bytes of results that wait for slow readers, of all runs together.
  uint64_t result_buffer_mb = 256;
  // Bytes of results that clients of the same user on this host read where they are, of all runs
  // together; 0: all results go in messages.
  uint64_t shared_memory_mb = 1024;
  // A reader that takes nothing for so long is given up.
  absl::Duration stall_timeout = absl::Seconds(60);
  // How long running work may take to end after a signal.
  absl::Duration grace_period = absl::Seconds(30);
  // Where digests of weight files are kept (DigestCache); empty: nowhere.
  std::string digest_cache = DigestCache::DefaultDirectory();
  // Do not start where the checkpoint has tensors that no part of the text path reads.
  bool strict = false;
  // Hand out parameters (GetWeight).
  bool serve_weights = true;

  bool help = false;
  bool version = false;
};

// What requests may hold, in MiB. Where no option says it: room for a run with as many uploads as
// there may be, and for their copy in the run's dtype, in the half that one client may have.
uint64_t RequestMemoryMb(const Options& options);

// How many calls one client may have open. Where no option says it: more than the queue takes, so
// that a client meets the limit of the queue first.
size_t MaxCalls(const Options& options);

// `arguments` without the program's name: "--name value" or "--name=value". Flags win over the TOML
// file that --config names. InvalidArgument with one line that says what is wrong and what would be
// right: an unknown flag or key, a bad value, no
// --model. With --help or --version nothing else need be right.
absl::StatusOr<Options> ParseOptions(const std::vector<std::string>& arguments);

// The text for --help.
std::string HelpText();

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_OPTIONS_H_
