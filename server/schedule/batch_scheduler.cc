// The scheduler's life: runs come in, threads execute batches. What may begin is in admission.cc.
#include "server/schedule/batch_scheduler.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "server/schedule/queue_errors.h"

namespace hookwire::server {

BatchScheduler::BatchScheduler(Options options, Execute execute, const Clock& clock)
    : options_(std::move(options)),
      clock_(clock),
      host_{.clock = clock,
            .device = device_,
            .execute = std::move(execute),
            .small_tokens = options_.small_tokens,
            .hook_timeout = options_.hook_timeout,
            .give_back = options_.give_back,
            .give_back_interval = options_.give_back_interval,
            .let_others_by = [this](RunningBatch& batch) { LetOthersBy(batch); },
            .must_leave = [this](WaitingRun& run) { return MustLeave(run); }},
      paced_(std::max(1, options_.max_paced)),
      interactive_(std::max(1, options_.max_interactive)),
      memory_(options_.max_activation_bytes) {
  threads_.emplace_back([this] { WorkShared(); });
  for (const auto& [lane, count] : {std::pair(Lane::kPaced, options_.max_paced),
                                    std::pair(Lane::kInteractive, options_.max_interactive)}) {
    for (int i = 0; i < std::max(1, count); ++i) {
      threads_.emplace_back([this, lane = lane] { WorkAlone(lane); });
    }
  }
  threads_.emplace_back([this] { Watch(); });
}

BatchScheduler::~BatchScheduler() {
  Drain();
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

BatchScheduler::Lane BatchScheduler::LaneOf(const QueuedRun& run) {
  if (run.plan->waits_for_client()) return Lane::kInteractive;
  return run.output->FitsBuffer() ? Lane::kShared : Lane::kPaced;
}

Scheduler::Load BatchScheduler::load() const {
  const absl::MutexLock lock(&mutex_);
  return {.waiting = static_cast<uint32_t>(waiting()), .running = running_};
}

size_t BatchScheduler::waiting() const {
  size_t waiting = 0;
  for (const FairQueue& queue : queues_) waiting += queue.size();
  return waiting;
}

absl::StatusOr<uint32_t> BatchScheduler::Enqueue(std::unique_ptr<QueuedRun>& run) {
  const absl::Time now = clock_.Now();
  const Lane lane = LaneOf(*run);
  absl::MutexLock lock(&mutex_);
  if (draining_) return ShuttingDown();
  const size_t all = waiting();
  if (all >= options_.max_queue) return QueueFull(options_.max_queue);
  size_t own = 0;
  for (const FairQueue& queue : queues_) own += queue.size(run->client);
  // The dynamic threshold of Choudhury and Hahne (1998): a client that comes later finds a place.
  const size_t free = options_.max_queue - all;
  if (own > 0 && own >= free) return TooManyOfOneClient(own, free, options_.max_queue);
  queue(lane).Push({.run = std::move(run), .enqueued = now});
  if (lane == Lane::kShared) stuck_ = false;
  return static_cast<uint32_t>(all) + running_;
}

bool BatchScheduler::Cancel(std::string_view id) {
  std::optional<WaitingRun> found;
  {
    absl::MutexLock lock(&mutex_);
    for (FairQueue& queue : queues_) {
      if (!found) found = queue.Remove(id);
    }
    if (found) Forget(*found);
    // The run behind it may fit.
    stuck_ = false;
  }
  if (!found) return false;
  Drop(*found, CancelledInQueue());
  return true;
}

void BatchScheduler::Drain() {
  std::vector<WaitingRun> dropped;
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    for (FairQueue& queue : queues_) {
      for (WaitingRun& waiting : queue.RemoveAll()) {
        Forget(waiting);
        dropped.push_back(std::move(waiting));
      }
    }
  }
  for (const WaitingRun& waiting : dropped) Drop(waiting, ShuttingDown());
}

void BatchScheduler::RoomCameFree() {
  absl::MutexLock lock(&mutex_);
  stuck_ = false;
}

void BatchScheduler::Drop(const WaitingRun& waiting, const absl::Status& status) const {
  RunOutcome outcome;
  outcome.status = status;
  outcome.queued = clock_.Now() - waiting.enqueued;
  waiting.run->output->Complete(std::move(outcome));
}

void BatchScheduler::AwaitWork(absl::FunctionRef<bool()> ready) {
  const absl::Condition condition(&ready);
  if (mutex_.AwaitWithTimeout(condition, options_.idle_time)) return;
  if (running_ == 0 && !std::exchange(gave_back_, true)) {
    mutex_.Unlock();
    options_.give_back();
    mutex_.Lock();
  }
  mutex_.Await(condition);
}

void BatchScheduler::WorkShared() {
  options_.on_worker_start();
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stop_ || (!queue(Lane::kShared).empty() && !stuck_);
  };
  const auto full = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stop_ || queue(Lane::kShared).tokens() >= options_.max_batch_tokens;
  };
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      AwaitWork(ready);
      if (stop_) return;
      if (options_.max_batch_delay > absl::ZeroDuration()) {
        const absl::Duration waited = clock_.Now() - queue(Lane::kShared).oldest();
        mutex_.AwaitWithTimeout(absl::Condition(&full), options_.max_batch_delay - waited);
      }
    }
    // Runs that arrive while another pass holds the device join this batch.
    device_.Acquire();
    if (std::vector<WaitingRun> runs = NextBatch(nullptr); !runs.empty()) {
      RunningBatch batch(host_, std::move(runs), /*lets_others_by=*/true);
      batch.Execute();
      absl::MutexLock lock(&mutex_);
      for (const WaitingRun& run : batch.runs()) Retire(run);
    }
    device_.Release();
  }
}

void BatchScheduler::LetOthersBy(RunningBatch& batch) {
  std::vector<WaitingRun> runs = NextBatch(&batch);
  if (runs.empty()) return;
  RunningBatch small(host_, std::move(runs), /*lets_others_by=*/false);
  small.Execute();
  {
    absl::MutexLock lock(&mutex_);
    for (const WaitingRun& run : small.runs()) Retire(run);
  }
  batch.CountTimeOf(small);
}

void BatchScheduler::WorkAlone(Lane lane) {
  options_.on_worker_start();
  const auto ready = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stop_ || HasWork(lane); };
  while (true) {
    std::optional<WaitingRun> next;
    {
      absl::MutexLock lock(&mutex_);
      AwaitWork(ready);
      if (stop_) return;
      next = NextAlone(lane);
      if (!next) continue;
      slots(lane).Take(next->run->client);
    }
    if (clock_.Now() >= next->run->deadline) {
      Drop(*next, DeadlinePassedInQueue());
    } else {
      // With the whole result reserved, the pass never waits for its reader. Without, the run
      // starts all the same, and its pass waits whenever the reader is behind. A call without a
      // claim ends the run's own claim, so room in the buffer that was kept for an aged run is now
      // free for the runs in the queue.
      if (!next->run->output->Reserve(/*claim=*/false) && next->aged) RoomCameFree();
      std::vector<WaitingRun> runs;
      runs.push_back(*std::move(next));
      RunningBatch batch(host_, std::move(runs), /*lets_others_by=*/false);
      device_.Acquire();
      batch.Execute();
      device_.Release();
      next = std::move(std::move(batch).TakeRuns().front());
    }
    absl::MutexLock lock(&mutex_);
    Retire(*next);
    slots(lane).Return(next->run->client, next->leaving_slot);
  }
}

void BatchScheduler::Watch() {
  absl::Time next = clock_.Now() + options_.max_queue_time;
  const auto wake = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stop_ || look_again_; };
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(&wake), next - clock_.Now());
      if (stop_) return;
    }
    next = LookAtWaiting(clock_.Now());
  }
}

}  // namespace hookwire::server
