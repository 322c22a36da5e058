// Runs a batch through model/, applies its interventions and emits its tensors as they are
// computed.
//
// In: plans with their sinks. Out: tensors in the sinks, and a report for each run. Runs on the
// caller's thread; several threads may execute batches at once. No exception leaves it.
#ifndef HOOKWIRE_SERVER_EXECUTE_EXECUTOR_H_
#define HOOKWIRE_SERVER_EXECUTE_EXECUTOR_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/numerics.h"
#include "model/text/text_model.h"
#include "server/execute/batch.h"
#include "server/execute/tensor_sink.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

class Executor {
 public:
  struct Options {
    model::Numerics numerics = model::Numerics::kFast;
    // A run with more tokens goes through the layers in several passes (plan/pass.h).
    int64_t max_batch_tokens = 8192;
  };

  // `model` must outlive the executor.
  Executor(const model::TextModel& model, const Options& options)
      : model_(model), options_(options) {}

  // Runs that come together share a pass. A run leaves it as soon as nothing of it is left to
  // compute, and a run that fails leaves it at the end of the layer; neither stops the others.
  //
  // A run ends with what its sink returned where that failed, with OUT_OF_MEMORY or an Internal
  // error where the pass did, and with an Internal error where an intervention of its plan did not
  // run or a tensor was not emitted. Where the pass of several runs fails, the cause may be one of
  // them: out of memory, the largest ends and the others are run again together; else each is run
  // again alone. What a run had emitted by then is not emitted again.
  void Execute(absl::Span<const BatchedRun> runs, BatchObserver& observer) const;

  // One run.
  absl::StatusOr<ExecutionReport> Execute(const RunPlan& plan, TensorSink& sink) const;

 private:
  const model::TextModel& model_;
  const Options options_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_EXECUTOR_H_
