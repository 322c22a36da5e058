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
#include "server/local/shared_memory.h"
#include "server/observe/digest_cache.h"
#include "server/observe/logging.h"
#include "server/plan/planner.h"
#include "server/rpc/listen_address.h"
#include "server/schedule/batch_scheduler.h"

namespace hookwire::server {

constexpr uint64_t kMiB = uint64_t{1} << 20;

struct Options {
  // The checkpoint directory.
  std::string model;
  ListenAddress listen = {"127.0.0.1", 7431};
  // As OpenDevices takes them (device.h).
  std::vector<std::string> devices = {"cpu"};
  // What to compute in; nullopt means the checkpoint's own dtype.
  std::optional<at::ScalarType> dtype;
  model::Numerics numerics = model::Numerics::kFast;
  // Compute threads; nullopt means one for each core that the process may use.
  std::optional<int> threads;

  LogFormat log_format = LogFormat::kText;
  spdlog::level::level_enum log_level = spdlog::level::info;

  // Where an option of a part is set here, the part has the default.

  // The largest result of one run; 0 means no limit.
  uint64_t max_result_mb = Limits().max_result_bytes / kMiB;
  // The most memory that the forward passes under way may use together, weights not counted.
  // nullopt means half of the device's free memory at the start; 0 means no limit.
  std::optional<uint64_t> max_activation_mb;
  // The most tokens of one run.
  uint64_t max_tokens = Limits().max_tokens;
  // The most tokens of one forward pass; nullopt means the default of MaxBatchTokens.
  std::optional<uint64_t> max_batch_tokens;
  // How long a pass with room for more runs waits for them before it starts, in microseconds.
  uint32_t max_batch_delay_us = 0;
  // The most bytes that one run may upload.
  uint64_t max_upload_mb = 1024;
  // The most memory that all requests hold before and while they run (RequestMemory); nullopt means
  // the default of RequestMemoryMb.
  std::optional<uint64_t> request_memory_mb;
  // The most open calls of one client; nullopt means the default of MaxCalls.
  std::optional<size_t> max_calls;
  // The most passes that may wait for a client's function (Interact) at the same time.
  int max_interactive = BatchScheduler::Options().max_interactive;
  // The most passes that may wait for a slow reader at the same time, because the run's result is
  // too large for the buffer.
  int max_paced = BatchScheduler::Options().max_paced;
  // How long a pass may wait for a client's function while another run needs its slot or its
  // memory.
  absl::Duration hook_timeout = BatchScheduler::Options().hook_timeout;
  // The most runs in the queue.
  size_t max_queue = BatchScheduler::Options().max_queue;
  // How long a run may be in the queue.
  absl::Duration max_queue_time = BatchScheduler::Options().max_queue_time;
  // The most memory for results that have been computed and not yet sent, for all runs together.
  uint64_t result_buffer_mb = 256;
  // The most shared memory, in which clients on this host get large results; 0 means that all
  // results are sent in messages.
  uint64_t shared_memory_mb = SharedMemory::Options().max_bytes / kMiB;
  // A run whose client reads nothing, or sends nothing of its request, for this long is ended.
  absl::Duration stall_timeout = absl::Seconds(60);
  // How long runs that have started may continue after SIGTERM or SIGINT.
  absl::Duration grace_period = absl::Seconds(30);
  // The directory that keeps digests of weight files (DigestCache); empty means that none are kept.
  std::string digest_cache = DigestCache::DefaultDirectory();
  // Refuse to start if the checkpoint has tensors or weight files that nothing reads.
  bool strict = false;
  // Answer GetWeight.
  bool serve_weights = true;

  bool help = false;
  bool version = false;
};

// The most memory that all requests may hold, in MiB. By default, the half of it that one client
// may have is enough for a run with the most uploads, and for their copies in the run's dtype.
uint64_t RequestMemoryMb(const Options& options);

// The most tokens of one forward pass. The default is kDefaultPassTokensOnCpu on the CPU, else
// kDefaultPassTokens.
int64_t MaxBatchTokens(const Options& options, bool on_cpu);

// The most open calls of one client. The default is larger than the queue, so that a client reaches
// the queue's limit first.
size_t MaxCalls(const Options& options);

// Parses the command line without the program's name: "--name value" or "--name=value". A flag
// overrides the same key of the TOML file that --config names. InvalidArgument if a flag or key is
// unknown, a value is wrong or --model is missing; the message is one line that says what is wrong
// and what would be right. With --help or --version, errors in other flags' values are ignored.
absl::StatusOr<Options> ParseOptions(const std::vector<std::string>& arguments);

// The text for --help.
std::string HelpText();

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_OPTIONS_H_
