#include "server/observe/run_log.h"

#include <nlohmann/json.hpp>

#include "server/observe/logging.h"

namespace hookwire::server {

void LogRun(spdlog::logger& logger, const RunRecord& record) {
  const absl::StatusCode code = record.status.code();
  const bool our_fault = code == absl::StatusCode::kInternal ||
                         code == absl::StatusCode::kUnknown || code == absl::StatusCode::kDataLoss;
  const auto level = our_fault ? spdlog::level::err : spdlog::level::info;
  if (!logger.should_log(level)) return;
  nlohmann::ordered_json fields = {
      {"run", record.id},
      {"peer", record.peer},
      {"status", absl::StatusCodeToString(code)},
      {"sequences", record.sequences},
      {"tokens", record.tokens},
      {"tensors", record.tensors},
      {"bytes", record.bytes},
      {"queue_us", absl::ToInt64Microseconds(record.queued)},
      {"compute_us", absl::ToInt64Microseconds(record.computed)},
  };
  if (record.non_finite != 0) fields["non_finite"] = record.non_finite;
  if (!record.status.ok()) fields["error"] = std::string(record.status.message());
  LogEvent(logger, level, record.status.ok() ? "run" : "run failed", fields);
}

}  // namespace hookwire::server
