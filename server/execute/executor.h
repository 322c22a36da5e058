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
#include "server/plan/pass_tokens.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

class Executor {
 public:
  struct Options {
    model::Numerics numerics = model::Numerics::kFast;
    // A run with more tokens goes through the layers in several passes (plan/sequence_groups.h).
    int64_t max_batch_tokens = kDefaultPassTokens;
  };

  // `model` must outlive the executor.
  Executor(const model::TextModel& model, const Options& options)
      : model_(model), options_(options) {}

  // The runs share a pass. A run leaves it as soon as nothing of it is left to compute. A run that
  // fails, or whose client no longer waits for it (RunOutput::status, BatchContext::CheckTime),
  // leaves at the end of the layer, or before the next step if no other run is left in the pass.
  // Neither stops the other runs.
  //
  // A run ends with the error of its output or of `context`, with OUT_OF_MEMORY or an Internal
  // error where the pass failed, and with an Internal error where an intervention of its plan did
  // not run or a tensor was not emitted. If the pass of several runs fails, one of them may be the
  // cause: if memory ran out, the largest run ends and the others are executed again together;
  // otherwise each is executed again alone. `context` is told which runs are executed together.
  // Tensors that a run has emitted are not emitted again.
  void Execute(absl::Span<const BatchedRun> runs, BatchContext& context) const;

  // One run.
  absl::StatusOr<ExecutionReport> Execute(const RunPlan& plan, RunOutput& output) const;

 private:
  const model::TextModel& model_;
  const Options options_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_EXECUTOR_H_
