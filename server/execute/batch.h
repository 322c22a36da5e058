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

// Whoever executes a batch (schedule/): it lends the batch the device, times it, and is told which
// runs are done. All calls come from the thread that executes the batch; `run` is a run's number in
// the batch. Every call but Done may be left as it is.
class BatchContext {
 public:
  virtual ~BatchContext() = default;

  // These runs are now executed together: all runs of the batch, or, where an execution has failed,
  // those that are executed once more.
  virtual void Begin(absl::Span<const size_t> /*runs*/) {}

  // The run has left the batch, with everything emitted or with what went wrong; the others may
  // still be executed. Exactly once for each run.
  virtual void Done(size_t run, absl::StatusOr<ExecutionReport> report) = 0;

  // Between two layers, and between two passes: the place to let others have the device.
  virtual void BetweenLayers() {}

  // Between two steps of a layer or of the logits, many times a layer: the same for a pass that is
  // so long that others would wait too long for its next layer.
  virtual void BetweenSteps() {}

  // An error where the run has no time left. It ends the run. Asked before every step.
  virtual absl::Status CheckTime(size_t /*run*/) { return absl::OkStatus(); }

  enum class WaitFor { kReader, kAnswer };
  // The run's output is about to wait for its client, and has stopped waiting: others can have the
  // device meanwhile.
  virtual void BeginWait(size_t /*run*/, WaitFor /*what*/) {}
  virtual void EndWait(size_t /*run*/) {}
  // An error where the run has waited long enough for the answer to `op`. It ends the run. Asked
  // several times a second.
  virtual absl::Status KeepWaiting(size_t /*run*/, const OpPlan& /*op*/) {
    return absl::OkStatus();
  }
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_BATCH_H_
