// One forward pass of one or more runs: through the layers together, each run as far as it needs.
#ifndef HOOKWIRE_SERVER_EXECUTE_BATCH_PASS_H_
#define HOOKWIRE_SERVER_EXECUTE_BATCH_PASS_H_

#include <cstddef>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/numerics.h"
#include "model/text/text_model.h"
#include "server/execute/batch.h"
#include "server/execute/emitter.h"
#include "server/plan/run_plan.h"
#include "server/plan/sequence_groups.h"

namespace hookwire::server {

// One run's part in a pass. All outlive the pass.
struct PassMember {
  // Its number in the batch.
  size_t run;
  const RunPlan* plan;
  // Which of its sequences take part.
  const SequenceGroup* group;
  Emitter* emitter;
};

// `left` is called when a run leaves the pass: with OK when everything that this pass computes of
// it has been emitted, or with the error of its own hooks or its output. An error that is returned
// is the pass's own: it concerns all members that have not left. May throw what libtorch throws.
absl::Status RunPass(const model::TextModel& model, model::Numerics numerics,
                     absl::Span<const PassMember> members, BatchContext& context,
                     absl::FunctionRef<void(size_t run, absl::Status status)> left);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_BATCH_PASS_H_
