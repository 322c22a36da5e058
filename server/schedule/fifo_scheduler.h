// One run after another, in the order in which they came, on one thread.
//
// One thread, and always the same, also because libtorch keeps a pool of compute threads for each
// thread that computes.
#ifndef HOOKWIRE_SERVER_SCHEDULE_FIFO_SCHEDULER_H_
#define HOOKWIRE_SERVER_SCHEDULE_FIFO_SCHEDULER_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/observe/clock.h"
#include "server/schedule/scheduler.h"

namespace hookwire::server {

class FifoScheduler final : public Scheduler {
 public:
  // Runs a plan; Executor::Execute in the daemon. Called on the worker's thread only.
  using Execute = std::function<absl::StatusOr<ExecutionReport>(const RunPlan&, TensorSink&)>;

  struct Options {
    // The most runs that wait, the one that runs apart.
    size_t max_queue = 64;
    // Called once on the worker's thread before the first run.
    std::function<void()> on_worker_start = [] {};
  };

  // `clock` must outlive the scheduler.
  FifoScheduler(Options options, Execute execute, const Clock& clock);
  // Drains, and waits for the run that has started.
  ~FifoScheduler() override;

  absl::StatusOr<uint32_t> Enqueue(std::unique_ptr<QueuedRun>& run) override;
  bool Cancel(std::string_view id) override;
  void Drain() override;

 private:
  struct Entry {
    std::unique_ptr<QueuedRun> run;
    absl::Time enqueued;
  };

  void Work();
  void RunOne(const Entry& entry);
  // Completes a run that never started.
  void Drop(const Entry& entry, const absl::Status& status) const;

  const Options options_;
  const Execute execute_;
  const Clock& clock_;
  absl::Mutex mutex_;
  std::deque<Entry> queue_ ABSL_GUARDED_BY(mutex_);
  bool running_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread worker_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_SCHEDULE_FIFO_SCHEDULER_H_
