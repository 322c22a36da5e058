// Runs a plan through model/, applies its interventions and emits its tensors as they are computed.
//
// In: a RunPlan and a sink. Out: tensors in the sink, and a report. Runs on the caller's thread,
// one run at a time for each Executor; no exception leaves it.
#ifndef HOOKWIRE_SERVER_EXECUTE_EXECUTOR_H_
#define HOOKWIRE_SERVER_EXECUTE_EXECUTOR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/numerics.h"
#include "model/text/text_model.h"
#include "server/execute/tensor_sink.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

// Non-finite elements that left at one hook point (or output) of one sequence.
struct NonFiniteCount {
  std::string hook;
  uint32_t sequence = 0;
  uint64_t nan = 0;
  uint64_t inf = 0;
};

struct ExecutionReport {
  uint64_t tensors = 0;
  uint64_t bytes = 0;
  std::vector<NonFiniteCount> non_finite;
};

class Executor {
 public:
  struct Options {
    model::Numerics numerics = model::Numerics::kFast;
    // A run with more tokens goes through the layers in several passes (execute/pass.h).
    int64_t max_batch_tokens = 8192;
  };

  // `model` must outlive the executor.
  Executor(const model::TextModel& model, const Options& options)
      : model_(model), options_(options) {}

  // Returns what the sink returned where it failed, an Internal or ResourceExhausted error where
  // the pass did, and an Internal error where an intervention of the plan did not run or a tensor
  // was not emitted.
  absl::StatusOr<ExecutionReport> Execute(const RunPlan& plan, TensorSink& sink) const;

 private:
  const model::TextModel& model_;
  const Options options_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_EXECUTOR_H_
