// The parts of the server that the services use.
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
#include "server/access/call_limit.h"
#include "server/access/peers.h"
#include "server/local/shared_memory.h"
#include "server/memory/request_memory.h"
#include "server/observe/clock.h"
#include "server/observe/weights_guard.h"
#include "server/plan/planner.h"
#include "server/rpc/planning_threads.h"
#include "server/rpc/request_reads.h"
#include "server/rpc/tokenizer_files.h"
#include "server/schedule/scheduler.h"
#include "server/stream/byte_budget.h"
#include "server/stream/stream_registry.h"

namespace hookwire::server {

// Immutable; the parts are thread-safe, and must outlive every call.
struct Backend {
  const model::Catalogue& catalogue;
  const Planner& planner;
  Scheduler& scheduler;
  ByteBudget& budget;
  // Results that have not been read to the end.
  StreamRegistry& streams;
  // Run and Interact calls whose run has not begun.
  StreamRegistry& requests;
  // Calls of all other methods.
  StreamRegistry& calls;
  RequestReads& reads;
  RequestMemory& request_memory;
  PlanningThreads& planning_threads;
  Peers& peers;
  CallLimit& call_limit;
  const Clock& clock;
  spdlog::logger& logger;
  // For GetModel, without the weights digest.
  v1::Model model;
  v1::Server server;
  at::ScalarType compute_dtype = at::kFloat;
  // WeightsDigest::value.
  std::function<std::string()> weights_digest;
  // Checked before a result that was computed from the weights is confirmed.
  WeightsGuard& weights_guard;
  // The most bytes of uploaded values in one run.
  uint64_t max_upload_bytes;
  // As they were when the server started.
  TokenizerFiles tokenizer;
  // For GetWeight; null if the server does not serve its weights.
  const model::Parameters* parameters = nullptr;
  // Null if all results go in messages.
  SharedMemory* shared_memory = nullptr;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_BACKEND_H_
