// Decides when a checked run has its turn.
//
// In: runs that plan/ has checked, from any thread. Out: each run's output gets exactly one
// Complete, whatever happens. What lies between (one at a time, or batches across clients) is the
// implementation's affair.
#ifndef HOOKWIRE_SERVER_SCHEDULE_SCHEDULER_H_
#define HOOKWIRE_SERVER_SCHEDULE_SCHEDULER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/execute/batch.h"
#include "server/execute/tensor_sink.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

// How a run came out.
struct RunOutcome {
  absl::Status status;
  // Where the status is OK.
  ExecutionReport report;
  absl::Duration queued;
  // From the start of the pass until the run left it; zero where it never started.
  absl::Duration computed;
  // Of the batch that the run was part of.
  uint32_t batch_runs = 0;
  uint32_t batch_sequences = 0;
  uint64_t batch_tokens = 0;
};

// Where a run's results go. The calls of a run that has started come from its worker's thread.
class RunOutput {
 public:
  virtual ~RunOutput() = default;

  // Whether room for the whole result can be set aside at all, so that the run need not wait for
  // its reader and can share a pass.
  virtual bool FitsBuffer() const = 0;
  // Sets it aside. False where there is none now; Scheduler::RoomCameFree tells when to ask again.
  virtual bool Reserve() = 0;

  // TensorSink::Place.
  virtual uint8_t* Place(uint32_t /*index*/, uint64_t /*offset*/, uint64_t /*bytes*/) {
    return nullptr;
  }
  // TensorSink::Emit. Tells `waits` true before it blocks for the reader, and false after that; it
  // never does after Reserve.
  virtual absl::Status Emit(uint32_t index, uint64_t offset, at::Tensor tensor,
                            absl::FunctionRef<void(bool)> waits) = 0;
  // TensorSink::Progress.
  virtual absl::Status Progress(int layers_done) = 0;

  // The last call, exactly once: on the worker's thread, or on the thread that took the run out of
  // the queue.
  virtual void Complete(RunOutcome outcome) = 0;

  // TensorSink::Await, which asks `keep_waiting` several times a second: an error ends the wait,
  // and is returned.
  virtual absl::StatusOr<std::vector<at::Tensor>> AwaitAnswer(
      const OpPlan& op, absl::FunctionRef<absl::Status()> keep_waiting) = 0;
};

enum class Priority { kLow, kNormal, kHigh };

struct QueuedRun {
  // Unique among the runs of this server.
  std::string id;
  // Whose run it is: turns and places are shared among clients.
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

  // Takes no new runs and ends those that wait with UNAVAILABLE/SHUTTING_DOWN. Those that have
  // started go on.
  virtual void Drain() = 0;

  // A RunOutput whose Reserve has failed may succeed now.
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
