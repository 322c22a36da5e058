// A batch of runs that are executed together, and what it is executed in.
#ifndef HOOKWIRE_SERVER_EXECUTE_BATCH_H_
#define HOOKWIRE_SERVER_EXECUTE_BATCH_H_

#include <cstddef>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/execute/run_output.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

// One run of a batch. Both outlive the execution.
struct BatchedRun {
  const RunPlan* plan = nullptr;
  RunOutput* output = nullptr;
};

// What the executor of a batch calls while it executes the batch. The scheduler implements it: it
// may execute other runs between two layers, it ends runs whose time is over, and it learns which
// runs have ended. All calls come from the thread that executes the batch. `run` is the run's index
// in the batch. An implementation has to override only Done.
class BatchContext {
 public:
  virtual ~BatchContext() = default;

  // These runs are now executed together: first all runs of the batch; then, if their pass has
  // failed, those that are executed again, one call for each attempt.
  virtual void Begin(absl::Span<const size_t> /*runs*/) {}

  // The run has ended: `report` says what it emitted, or is the run's error. Other runs of the
  // batch may still be executed. Called exactly once for each run.
  virtual void Done(size_t run, absl::StatusOr<ExecutionReport> report) = 0;

  // Called between two layers, and between two passes: other passes may now use the device.
  virtual void BetweenLayers() {}

  // Called many times in a layer, between two steps of it (a matrix product, a block of logits).
  // For long passes: other runs would wait too long for the end of the layer.
  virtual void BetweenSteps() {}

  // An error if the run's deadline has passed; the run then ends with it. Called before every step.
  virtual absl::Status CheckTime(size_t /*run*/) { return absl::OkStatus(); }

  enum class WaitFor { kReader, kAnswer };
  // BeginWait: the pass is about to wait for the run's client, until it reads (kReader) or until it
  // answers a callback (kAnswer). EndWait: it has stopped waiting. Other passes may use the device
  // in between.
  virtual void BeginWait(size_t /*run*/, WaitFor /*what*/) {}
  virtual void EndWait(size_t /*run*/) {}
  // An error if the run may not wait any longer for the answer to `op` (the hook timeout); the run
  // then ends with it. Called several times a second while it waits.
  virtual absl::Status KeepWaiting(size_t /*run*/, const OpPlan& /*op*/) {
    return absl::OkStatus();
  }
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_BATCH_H_
