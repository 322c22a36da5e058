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
  // gRPC's address of the client, for example "ipv4:127.0.0.1:40312"; "fd:17" at a Unix socket.
  std::string peer;
  uint64_t sequences = 0;
  uint64_t tokens = 0;
  // That were emitted.
  uint64_t tensors = 0;
  uint64_t bytes = 0;
  // Non-finite elements that left.
  uint64_t non_finite = 0;
  absl::Duration queued;
  absl::Duration computed;
  absl::Status status;
};

// At level info; a failure of the server's own at level error.
void LogRun(spdlog::logger& logger, const RunRecord& record);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_OBSERVE_RUN_LOG_H_
