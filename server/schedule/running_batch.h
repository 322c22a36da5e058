// A batch that is being executed: gives its runs the device, and tells their outputs how they
// ended.
#ifndef HOOKWIRE_SERVER_SCHEDULE_RUNNING_BATCH_H_
#define HOOKWIRE_SERVER_SCHEDULE_RUNNING_BATCH_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/execute/batch.h"
#include "server/observe/clock.h"
#include "server/schedule/device_token.h"
#include "server/schedule/fair_queue.h"
#include "server/schedule/shares.h"

namespace hookwire::server {

// Used by the thread that executes the batch.
class RunningBatch final : public BatchContext {
 public:
  // What all batches of a scheduler share. Outlives them.
  struct Host {
    const Clock& clock;
    DeviceToken& device;
    // Executes a batch (BatchScheduler::Execute).
    std::function<void(absl::Span<const BatchedRun> runs, BatchContext& context)> execute;
    // As in BatchScheduler::Options.
    uint64_t small_tokens;
    absl::Duration hook_timeout;
    std::function<void()> give_back;
    absl::Duration give_back_interval;
    // Executes small runs of others in the middle of this batch.
    std::function<void(RunningBatch& batch)> let_others_by;
    // What another run needs that this run (its pass waits for its client) holds: "slot" or
    // "memory". Null: nothing.
    std::function<const char*(WaitingRun& run)> must_leave;
  };

  // `lets_others_by`: whether smaller batches may be executed in the middle of this one.
  RunningBatch(const Host& host, std::vector<WaitingRun> runs, bool lets_others_by);

  // REQUIRES: the thread holds the device.
  void Execute();

  // Whether a run may be executed in the middle of this batch, in a batch of `tokens` with it: it
  // is small beside this one, of a client that has no run here, and this client has not taken more
  // of the time than the batch has had itself.
  bool LetsBy(const QueuedRun& run, uint64_t tokens) const;
  // `other` has been executed in the middle of this one.
  void CountTimeOf(const RunningBatch& other);

  const std::vector<WaitingRun>& runs() const { return runs_; }
  // After Execute.
  std::vector<WaitingRun> TakeRuns() && { return std::move(runs_); }

  // BatchContext
  void Begin(absl::Span<const size_t> runs) override;
  void Done(size_t run, absl::StatusOr<ExecutionReport> report) override;
  void BetweenLayers() override;
  void BetweenSteps() override;
  absl::Status CheckTime(size_t run) override;
  void BeginWait(size_t run, WaitFor what) override;
  void EndWait(size_t run) override;
  absl::Status KeepWaiting(size_t run, const OpPlan& op) override;

 private:
  // Whether any run is small beside it.
  bool IsLong() const;

  const Host& host_;
  const bool lets_others_by_;
  std::vector<WaitingRun> runs_;
  Shares shares_;
  uint64_t tokens_ = 0;
  // Of the batch, and of each run's last execution, by its number.
  absl::Time started_;
  struct Execution {
    absl::Time started;
    BatchSize batch;
    uint32_t count = 0;
  };
  std::vector<Execution> executions_;
  // The time, as it was at the last step.
  absl::Time now_;
  // When a run began to wait for its client.
  absl::Time waiting_since_;
  absl::Time next_give_back_ = absl::InfinitePast();
  // The time that smaller batches have taken in the middle of this one: in all, and by client.
  absl::Duration lost_;
  absl::flat_hash_map<std::string, absl::Duration> lost_to_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_SCHEDULE_RUNNING_BATCH_H_
