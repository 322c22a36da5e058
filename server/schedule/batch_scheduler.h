// Packs the runs that wait into batches, fair by client, and gives each batch its turn on the
// device.
//
// A run is in one of three lanes:
// - shared: it never waits for its client once it has started. Room for its whole result is
//   reserved before, so that it can share a pass with others and nobody waits for another's reader.
// - paced: its result is larger than the buffer may hold, so that its pass waits for its reader.
// - interactive: its pass waits for its client's functions.
// Runs of the last two are executed alone, on a thread of their own and in one of a limited number
// of slots, and give the device to others while they wait. Between layers every pass lets others
// have the device in turn, and a long one within its layers too.
//
// A run needs room: for its result (shared lane), for its activations (PassMemory), and a slot
// (other lanes). Runs that find room are taken before a run that does not, but not for ever: one
// that has been passed over for `max_passed_over` has aged. Room for its result and its activations
// is then kept for it as it comes free, it gets the next free slot of its lane, and where its
// result is what has no room, it may also be executed in a paced slot, without room.
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
#include "server/plan/pass_tokens.h"
#include "server/schedule/device_token.h"
#include "server/schedule/fair_queue.h"
#include "server/schedule/pass_memory.h"
#include "server/schedule/running_batch.h"
#include "server/schedule/scheduler.h"
#include "server/schedule/slots.h"

namespace hookwire::server {

class BatchScheduler final : public Scheduler {
 public:
  // Executes a batch (execute/batch.h); Executor::Execute in the daemon. Called on a worker's
  // thread, which holds the device.
  using Execute = std::function<void(absl::Span<const BatchedRun> runs, BatchContext& context)>;

  struct Options {
    // The most runs that wait, besides those that have started. One client may fill half of the
    // places that the others leave free.
    size_t max_queue = 1024;
    // A run that has waited for so long ends with QUEUE_TIMEOUT.
    absl::Duration max_queue_time = absl::Minutes(5);
    // A run that has had its turn but no room is passed over for at most so long; then room that
    // comes free is kept for it.
    absl::Duration max_passed_over = absl::Seconds(1);
    // The most tokens that share a pass. A run with more has a batch of its own.
    uint64_t max_batch_tokens = kDefaultPassTokens;
    // A pass of so many tokens takes hardly longer than one of a single token. Clients that have
    // more share a pass only with those that have about as many, up to twice, so that nobody waits
    // for another client's flood or long run. A run that is 8 times smaller than one client's part
    // of a batch is executed in the middle of it, for as long a time as the batch has had itself.
    uint64_t small_tokens = 32;
    // What all passes that have begun may work with together, in bytes
    // (RunPlan::activation_bytes); 0 means no limit.
    uint64_t max_activation_bytes = 0;
    // How long a pass that could take more runs waits for them.
    absl::Duration max_batch_delay = absl::ZeroDuration();
    // Slots for passes that wait for their clients' functions, and for those that wait for their
    // readers; each shared among clients. At least 1.
    int max_interactive = 4;
    int max_paced = 4;
    // A pass that has waited for its client's function for so long ends with HOOK_TIMEOUT once
    // another run needs its slot or its memory: not before, and of clients with equally many slots
    // the first to be asked.
    absl::Duration hook_timeout = absl::Seconds(30);
    // Gives memory that passes have used, and that is free, back to the system. Called without the
    // device: on a pass's thread when it begins to wait for a reader, for each batch at most once
    // in `give_back_interval` (the next layers have to get their memory page by page again); and
    // once nothing has run for `idle_time`.
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

  // Ends runs that have waited for too long at `now`, and keeps room for those that have been
  // passed over for too long; returns when to look again. Called by the watching thread.
  absl::Time LookAtWaiting(absl::Time now);

 private:
  enum class Lane { kShared, kPaced, kInteractive };
  static constexpr size_t kNumLanes = 3;

  static Lane LaneOf(const QueuedRun& run);
  FairQueue& queue(Lane lane) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return queues_[static_cast<size_t>(lane)];
  }
  // REQUIRES: not the shared lane.
  Slots& slots(Lane lane) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return lane == Lane::kPaced ? paced_ : interactive_;
  }

  // Blocks until `ready`. Where that takes long, gives memory back first.
  void AwaitWork(absl::FunctionRef<bool()> ready) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What the threads do: that of the shared lane, one for each slot, and the watching one.
  void WorkShared();
  void WorkAlone(Lane lane);
  void Watch();

  // The next batch of the shared lane, empty where there is none now. `beside`: the batch in whose
  // middle it would be executed.
  std::vector<WaitingRun> NextBatch(const RunningBatch* beside) ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether a thread of this lane, not the shared one, has something to look at.
  bool HasWork(Lane lane) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether a run of the shared lane may be executed in a paced slot.
  bool CanTakeAgedRun(const WaitingRun& waiting) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The next run for a slot of this lane, which begins with it.
  std::optional<WaitingRun> NextAlone(Lane lane) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasMemoryFor(const WaitingRun& waiting) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The run has had its turn, and no room.
  void PassOver(WaitingRun& waiting, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The run begins. REQUIRES: there is memory for it.
  void Admit(WaitingRun& waiting) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A run that began has ended.
  void Retire(const WaitingRun& waiting) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A run that waited will never begin.
  void Forget(const WaitingRun& waiting) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // RunningBatch::Host
  void LetOthersBy(RunningBatch& batch);
  const char* MustLeave(WaitingRun& run);

  size_t waiting() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Completes a run that never started.
  void Drop(const WaitingRun& waiting, const absl::Status& status) const;

  const Options options_;
  const Clock& clock_;
  DeviceToken device_;
  const RunningBatch::Host host_;

  mutable absl::Mutex mutex_;
  std::array<FairQueue, kNumLanes> queues_ ABSL_GUARDED_BY(mutex_);
  Slots paced_ ABSL_GUARDED_BY(mutex_);
  Slots interactive_ ABSL_GUARDED_BY(mutex_);
  PassMemory memory_ ABSL_GUARDED_BY(mutex_);
  uint32_t running_ ABSL_GUARDED_BY(mutex_) = 0;
  // Since a run began last.
  bool gave_back_ ABSL_GUARDED_BY(mutex_) = false;
  // No run of the shared lane could be taken, and nothing has changed since.
  bool stuck_ ABSL_GUARDED_BY(mutex_) = false;
  // The watching thread has to look earlier than it was told.
  bool look_again_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_SCHEDULE_BATCH_SCHEDULER_H_
