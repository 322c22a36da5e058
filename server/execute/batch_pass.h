// One pass of one or more runs: through the layers together, each as far as it needs.
#ifndef HOOKWIRE_SERVER_EXECUTE_BATCH_PASS_H_
#define HOOKWIRE_SERVER_EXECUTE_BATCH_PASS_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/numerics.h"
#include "model/text/text_model.h"
#include "server/execute/emitter.h"
#include "server/plan/pass.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

// One run's part in a pass. All outlive the pass.
struct PassMember {
  const RunPlan* plan;
  // Which of its sequences take part.
  const Pass* pass;
  Emitter* emitter;
};

struct PassCalls {
  // Member number `member` has left the pass: with everything emitted that this pass makes of it,
  // or with what failed in its own hooks or its sink.
  absl::FunctionRef<void(int member, absl::Status status)> left;
  // Between two layers.
  absl::FunctionRef<void()> between_layers;
  // Between two parts of a layer, or of the logits.
  absl::FunctionRef<void()> between_steps;
};

// An error is the pass's own, and concerns all members that have not left. May throw as the model's
// operators do.
absl::Status RunPass(const model::TextModel& model, model::Numerics numerics,
                     absl::Span<const PassMember> members, const PassCalls& calls);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_BATCH_PASS_H_
