// Decides when a checked run has its turn.
//
// In: runs that plan/ has checked, from any thread. Out: each run's output gets exactly one
// Complete, whatever happens.
#ifndef HOOKWIRE_SERVER_SCHEDULE_SCHEDULER_H_
#define HOOKWIRE_SERVER_SCHEDULE_SCHEDULER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/execute/run_output.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

enum class Priority { kLow, kNormal, kHigh };

struct QueuedRun {
  // Unique among the runs of this server.
  std::string id;
  // Whose run it is: turns, places in the queue and slots are shared among clients.
  std::string client;
  Priority priority = Priority::kNormal;
  // How many times an ordinary client's share of the device this client gets.
  double weight = 1;
  std::shared_ptr<const RunPlan> plan;
  std::shared_ptr<RunOutput> output;
  // A run that has not started by then ends with DEADLINE_EXCEEDED.
  absl::Time deadline = absl::InfiniteFuture();
};

// Thread-safe.
class Scheduler {
 public:
  virtual ~Scheduler() = default;

  // Takes the run over only on success, and returns how many runs are ahead of it.
  // RESOURCE_EXHAUSTED/QUEUE_FULL where too many wait, in all or of this client;
  // UNAVAILABLE/SHUTTING_DOWN after Drain.
  virtual absl::StatusOr<uint32_t> Enqueue(std::unique_ptr<QueuedRun>& run) = 0;

  // Ends a run that still waits with CANCELLED, and frees its place. False where it does not wait
  // (it runs, or has ended): a run that has started ends when its output returns an error.
  virtual bool Cancel(std::string_view id) = 0;

  // Refuses new runs and ends those that wait with UNAVAILABLE/SHUTTING_DOWN. Runs that have
  // started go on.
  virtual void Drain() = 0;

  // RunOutput::Reserve may now succeed where it has failed before.
  virtual void RoomCameFree() = 0;

  struct Load {
    uint32_t waiting = 0;
    // Started, and not ended.
    uint32_t running = 0;
  };
  virtual Load load() const = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_SCHEDULE_SCHEDULER_H_
