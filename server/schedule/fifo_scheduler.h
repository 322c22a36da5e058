// One run after another computes, in the order in which they came.
//
// Plain runs have one thread, and always the same, also because libtorch keeps a pool of compute
// threads for each thread that computes. Runs whose pass waits for its client somewhere have
// threads of their own, up to max_interactive of them, and give the device to others while they
// wait.
#ifndef HOOKWIRE_SERVER_SCHEDULE_FIFO_SCHEDULER_H_
#define HOOKWIRE_SERVER_SCHEDULE_FIFO_SCHEDULER_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/observe/clock.h"
#include "server/schedule/device_token.h"
#include "server/schedule/scheduler.h"

namespace hookwire::server {

class FifoScheduler final : public Scheduler {
 public:
  // Runs a plan; Executor::Execute in the daemon. Called on a worker's thread, one at a time but
  // for those that wait for their clients.
  using Execute = std::function<absl::StatusOr<ExecutionReport>(const RunPlan&, TensorSink&)>;

  struct Options {
    // The most runs that wait, those that have started apart.
    size_t max_queue = 64;
    // The most runs that have started and may wait for their clients, shared among these. At least
    // 1.
    int max_interactive = 4;
    // A pass that has waited for its client for so long ends with HOOK_TIMEOUT once another run
    // wants its place: not before, and of clients with equally many places the first to be asked.
    absl::Duration hook_timeout = absl::Seconds(30);
    // Called once on each worker's thread before its first run.
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

  class Pass;

  void Work(bool interactive);
  // The entry that is next for such a worker, or the end of the queue.
  std::deque<Entry>::iterator Next(bool interactive) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether the run gave its place to another.
  bool RunOne(const Entry& entry);
  // Completes a run that never started.
  void Drop(const Entry& entry, const absl::Status& status) const;
  // Whether a pass of `client` is to give up its place: a run wants one that nobody gives up yet,
  // and the client is one of those that hold most of them.
  bool TakePlaceFrom(const std::string& client);

  const Options options_;
  const Execute execute_;
  const Clock& clock_;
  DeviceToken device_;
  absl::Mutex mutex_;
  std::deque<Entry> queue_ ABSL_GUARDED_BY(mutex_);
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  // By client: runs that have started and may wait for it.
  std::map<std::string, int> places_ ABSL_GUARDED_BY(mutex_);
  // Of these, runs that have been told to give up their place and still hold it.
  int leaving_ ABSL_GUARDED_BY(mutex_) = 0;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> workers_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_SCHEDULE_FIFO_SCHEDULER_H_
