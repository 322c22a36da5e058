// The log line of a run.
#ifndef HOOKWIRE_SERVER_OBSERVE_RUN_LOG_H_
#define HOOKWIRE_SERVER_OBSERVE_RUN_LOG_H_

#include <spdlog/logger.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace hookwire::server {

struct RunRecord {
  std::string id;
  // Who asked for it (Principal::name), for example "process:4711 ipv4:127.0.0.1:40312".
  std::string peer;
  uint64_t sequences = 0;
  uint64_t tokens = 0;
  // Tensors and payload bytes that the pass emitted.
  uint64_t tensors = 0;
  uint64_t bytes = 0;
  // NaN and infinite elements of these.
  uint64_t non_finite = 0;
  absl::Duration queued;
  absl::Duration computed;
  absl::Status status;
};

// Logs at level info; at level error where the status is a failure of the server (INTERNAL,
// UNKNOWN, DATA_LOSS).
void LogRun(spdlog::logger& logger, const RunRecord& record);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_OBSERVE_RUN_LOG_H_
