// Runs a batch through model/, applies its interventions and emits its tensors as they are
// computed.
//
// In: plans with their outputs. Out: tensors in the outputs, and a report for each run. Runs on the
// caller's thread; several threads may execute batches at once. No exception leaves it.
#ifndef HOOKWIRE_SERVER_EXECUTE_EXECUTOR_H_
#define HOOKWIRE_SERVER_EXECUTE_EXECUTOR_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/numerics.h"
#include "model/text/text_model.h"
#include "server/execute/batch.h"
#include "server/execute/run_output.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

class Executor {
 public:
  struct Options {
    model::Numerics numerics = model::Numerics::kFast;
    // A run with more tokens goes through the layers in several passes (plan/sequence_groups.h).
    int64_t max_batch_tokens = 8192;
  };

  // `model` must outlive the executor.
  Executor(const model::TextModel& model, const Options& options)
      : model_(model), options_(options) {}

  // Runs that come together share a pass. A run leaves it as soon as nothing of it is left to
  // compute. A run that fails, or for which nobody waits any more (RunOutput::status,
  // BatchContext::CheckTime), leaves it at the end of the layer, or before the next step where no
  // other run is left in the pass; neither stops the others.
  //
  // A run ends with the error of its output or of `context`, with OUT_OF_MEMORY or an Internal
  // error where the pass failed, and with an Internal error where an intervention of its plan did
  // not run or a tensor was not emitted. Where the pass of several runs fails, the cause may be one
  // of them: out of memory, the largest ends and the others are executed again together; else each
  // is executed again alone. Either way `context` is told which runs are now executed together.
  // What a run had emitted by then is not emitted again.
  void Execute(absl::Span<const BatchedRun> runs, BatchContext& context) const;

  // One run.
  absl::StatusOr<ExecutionReport> Execute(const RunPlan& plan, RunOutput& output) const;

 private:
  const model::TextModel& model_;
  const Options options_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_EXECUTOR_H_
