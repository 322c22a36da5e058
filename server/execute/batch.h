// What schedule/ and execute/ tell each other about the runs that share a pass.
#ifndef HOOKWIRE_SERVER_EXECUTE_BATCH_H_
#define HOOKWIRE_SERVER_EXECUTE_BATCH_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/execute/tensor_sink.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

// One run of a batch. Both outlive the execution.
struct BatchedRun {
  const RunPlan* plan = nullptr;
  TensorSink* sink = nullptr;
};

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

// All calls come from the thread that executes the batch.
class BatchObserver {
 public:
  virtual ~BatchObserver() = default;

  // Run number `run` has left the pass, with everything emitted or with what went wrong; the others
  // may still go on. Exactly once for each.
  virtual void Done(size_t run, absl::StatusOr<ExecutionReport> report) = 0;

  // A layer has run, and another is about to: the place to let others have the device.
  virtual void BetweenLayers() = 0;

  // The same within a layer, many times: where a long pass would keep others waiting.
  virtual void BetweenSteps() = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_BATCH_H_
