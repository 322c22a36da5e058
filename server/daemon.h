// Puts the parts of the server together, starts it and shuts it down.
#ifndef HOOKWIRE_SERVER_DAEMON_H_
#define HOOKWIRE_SERVER_DAEMON_H_

#include <spdlog/logger.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/unread_files.h"
#include "model/text/text_model.h"
#include "server/execute/executor.h"
#include "server/local/shared_memory.h"
#include "server/observe/clock.h"
#include "server/observe/weights_digest.h"
#include "server/observe/weights_guard.h"
#include "server/options.h"
#include "server/plan/planner.h"
#include "server/rpc/backend.h"
#include "server/rpc/server.h"
#include "server/rpc/tokenizer_files.h"
#include "server/schedule/batch_scheduler.h"
#include "server/stream/byte_budget.h"
#include "server/stream/stream_registry.h"

namespace hookwire::server {

// "hookwired 0.1.0 (libtorch 2.15.0)".
std::string BuildName();

// Thread-safe after Start.
class Daemon {
 public:
  // When this returns OK, the server accepts calls. Checks the address, the directory and the
  // device before it loads the weights, which may take minutes. Sets the process's number of
  // compute threads. The error's message is one line for the user.
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(const Options& options,
                                                       std::shared_ptr<spdlog::logger> logger);
  ~Daemon();

  // The address that the server listens at: "127.0.0.1:43211" if port 0 was asked for.
  std::string address() const;

  // From now on health says NOT_SERVING, and new and queued runs end with UNAVAILABLE
  // (SHUTTING_DOWN). Runs that have started continue.
  void Drain();
  // Waits until no run is left and all results have been sent; false if that takes longer than
  // `timeout`.
  bool WaitUntilIdle(absl::Duration timeout) const;
  // Cancels the runs that are left, waits until they have ended, and closes all connections. A run
  // ends before the next step of its pass, which may take long: ShutDown (shutdown.h) limits the
  // time by ending the process.
  void Stop();

 private:
  Daemon(const Options& options, std::shared_ptr<spdlog::logger> logger,
         std::shared_ptr<const model::Checkpoint> checkpoint, TokenizerFiles tokenizer,
         std::unique_ptr<const model::TextModel> model,
         const std::vector<model::UnreadFile>& unread_files, int threads,
         const std::string& load_id);

  // From now on, once the weight files change, health says NOT_SERVING and an error is logged.
  void WatchWeights();

  const RealClock clock_;
  const std::shared_ptr<spdlog::logger> logger_;
  const std::shared_ptr<const model::Checkpoint> checkpoint_;
  const std::unique_ptr<const model::TextModel> model_;
  const WeightsDigest digest_;
  WeightsGuard weights_guard_;
  const Limits limits_;
  const Planner planner_;
  const Executor executor_;
  const std::shared_ptr<ByteBudget> budget_;
  const std::shared_ptr<RequestMemory> request_memory_;
  StreamRegistry streams_;
  StreamRegistry requests_;
  StreamRegistry calls_;
  RequestReads reads_;
  Peers peers_;
  CallLimit call_limit_;
  // Null if results are sent in messages only.
  const std::unique_ptr<SharedMemory> shared_memory_;
  BatchScheduler scheduler_;
  PlanningThreads planning_threads_;
  const Backend backend_;
  // Declared last, so destroyed first: their threads use the members above.
  std::unique_ptr<RpcServer> rpc_;
  std::unique_ptr<WeightsWatch> weights_watch_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_DAEMON_H_
