// What the services hand requests over to.
#ifndef HOOKWIRE_SERVER_RPC_BACKEND_H_
#define HOOKWIRE_SERVER_RPC_BACKEND_H_

#include <spdlog/logger.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "hookwire/v1/model.pb.h"
#include "model/adapter/catalogue.h"
#include "model/text/parameters.h"
#include "server/local/shared_memory.h"
#include "server/observe/clock.h"
#include "server/observe/weights_guard.h"
#include "server/plan/planner.h"
#include "server/schedule/scheduler.h"
#include "server/stream/byte_budget.h"
#include "server/stream/stream_registry.h"

namespace hookwire::server {

// Immutable but for what the parts do themselves; the parts must outlive every call.
struct Backend {
  const model::Catalogue& catalogue;
  const Planner& planner;
  Scheduler& scheduler;
  ByteBudget& budget;
  StreamRegistry& streams;
  const Clock& clock;
  spdlog::logger& logger;
  // Without the digest.
  v1::Model model;
  v1::Server server;
  at::ScalarType compute_dtype = at::kFloat;
  // WeightsDigest::value.
  std::function<std::string()> weights_digest;
  // Asked before anything that was made of the weights is called good.
  WeightsGuard& weights_guard;
  // Of the uploaded values of one run together.
  uint64_t max_upload_bytes = uint64_t{1} << 30;
  // The checkpoint, for its tokenizer files.
  std::string directory;
  // Null: they are not handed out.
  const model::Parameters* parameters = nullptr;
  // A reader of weights that takes nothing for so long is given up.
  absl::Duration stall_timeout = absl::Seconds(60);
  // Null: all results go in messages.
  SharedMemory* shared_memory = nullptr;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_BACKEND_H_
