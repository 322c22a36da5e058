// Packs the runs that wait into passes, fair by client, and gives each pass its turn on the device.
//
// A run is in one of three lanes:
// - shared: it never waits for its client once it has started. Room for its whole result is set
//   aside before, so that it can share a pass with others and nobody waits for anybody's reader.
// - paced: its result is larger than the buffer may hold, so that its pass waits for its reader.
// - interactive: its pass waits for its client's functions.
// Runs of the last two have a pass and a thread of their own, limited places, and give the device
// to others while they wait. Between layers, every pass lets others have the device in turn, and a
// long one within its layers too.
#ifndef HOOKWIRE_SERVER_SCHEDULE_BATCH_SCHEDULER_H_
#define HOOKWIRE_SERVER_SCHEDULE_BATCH_SCHEDULER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/execute/batch.h"
#include "server/observe/clock.h"
#include "server/schedule/device_token.h"
#include "server/schedule/fair_queue.h"
#include "server/schedule/places.h"
#include "server/schedule/scheduler.h"

namespace hookwire::server {

class BatchScheduler final : public Scheduler {
 public:
  // Runs a batch (execute/batch.h); Executor::Execute in the daemon. Called on a worker's thread
  // which holds the device.
  using Execute = std::function<void(absl::Span<const BatchedRun> runs, BatchObserver& observer)>;

  struct Options {
    // The most runs that wait, those that have started apart. One client may fill half of the
    // places that the others leave free.
    size_t max_queue = 1024;
    // A run that has waited for so long ends with QUEUE_TIMEOUT.
    absl::Duration max_queue_time = absl::Minutes(5);
    // The most tokens that share a pass. A run with more has a batch of its own.
    uint64_t max_batch_tokens = 8192;
    // A pass of so many tokens takes hardly longer than one of a single token. Clients that have
    // more share a pass only with those that have about as many, up to twice, so that nobody waits
    // for a flood or for a long run of another. What is 8 times smaller than one client's part of
    // a pass goes through on its way, for as long a time as the pass has had itself.
    uint64_t small_tokens = 32;
    // What a shared pass may work with, and what all passes that may wait for their clients may
    // work with together, in bytes (RunPlan::activation_bytes); 0 means no limit.
    uint64_t max_activation_bytes = 0;
    // How long a pass that could take more waits for others to come.
    absl::Duration max_batch_delay = absl::ZeroDuration();
    // Places for passes that wait for their clients' functions, and for those that wait for their
    // readers; each shared among clients. At least 1.
    int max_interactive = 4;
    int max_paced = 4;
    // A pass that has waited for its client's function for so long ends with HOOK_TIMEOUT once
    // another run wants its place: not before, and of clients with equally many places the first to
    // be asked.
    absl::Duration hook_timeout = absl::Seconds(30);
    // Gives memory back that passes have used and nobody uses. Called without the device: on a
    // pass's thread when it begins to wait for a reader, for each run at most once in
    // `give_back_interval` (what the next layers need has to be had anew, page by page); and once
    // nothing has run for `idle_time`.
    std::function<void()> give_back = [] {};
    absl::Duration give_back_interval = absl::Milliseconds(50);
    absl::Duration idle_time = absl::Seconds(2);
    // Called once on each worker's thread before its first run.
    std::function<void()> on_worker_start = [] {};
  };

  // `clock` must outlive the scheduler.
  BatchScheduler(Options options, Execute execute, const Clock& clock);
  // Drains, and waits for the runs that have started.
  ~BatchScheduler() override;

  absl::StatusOr<uint32_t> Enqueue(std::unique_ptr<QueuedRun>& run) override;
  bool Cancel(std::string_view id) override;
  void Drain() override;
  void RoomCameFree() override;
  Load load() const override;

  // Ends what has waited for too long at `now`; returns when to look again. What the watching
  // thread calls.
  absl::Time EndOverdue(absl::Time now);

 private:
  enum class Lane { kShared, kPaced, kInteractive };
  static constexpr size_t kNumLanes = 3;

  class Pass;

  static Lane LaneOf(const QueuedRun& run);
  FairQueue& queue(Lane lane) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return queues_[static_cast<size_t>(lane)];
  }
  // REQUIRES: not the shared lane.
  Places& places(Lane lane) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return lane == Lane::kPaced ? paced_ : interactive_;
  }

  // Blocks until `ready`, and uses the time.
  void AwaitWork(absl::FunctionRef<bool()> ready) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WorkShared();
  // Of a lane with places.
  void WorkAlone(Lane lane);
  void Watch();

  // The next batch, empty where there is none now. `beside`: the pass on whose way it would run.
  std::vector<WaitingRun> NextBatch(const Pass* beside) ABSL_LOCKS_EXCLUDED(mutex_);
  // All runs of the pass have been completed.
  void Finished(const Pass& pass) ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether a pass of its own may begin, beside those that have.
  bool FitsAlone(const QueuedRun& run) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<WaitingRun> NextAlone(Lane lane) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool TakePlaceFrom(const std::string& client);
  size_t waiting() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Completes a run that never started.
  void Drop(const WaitingRun& waiting, const absl::Status& status) const;

  const Options options_;
  const Execute execute_;
  const Clock& clock_;
  DeviceToken device_;

  mutable absl::Mutex mutex_;
  std::array<FairQueue, kNumLanes> queues_ ABSL_GUARDED_BY(mutex_);
  Places paced_ ABSL_GUARDED_BY(mutex_);
  Places interactive_ ABSL_GUARDED_BY(mutex_);
  uint32_t running_ ABSL_GUARDED_BY(mutex_) = 0;
  // Since a run began last.
  bool gave_back_ ABSL_GUARDED_BY(mutex_) = false;
  // What the passes of the lanes with places work with.
  uint64_t alone_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  // No run of the shared lane could be taken, and nothing has changed since.
  bool stuck_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_SCHEDULE_BATCH_SCHEDULER_H_
