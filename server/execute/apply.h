// One intervention at one hook point, applied to the tensors of a pass.
#ifndef HOOKWIRE_SERVER_EXECUTE_APPLY_H_
#define HOOKWIRE_SERVER_EXECUTE_APPLY_H_

#include <ATen/core/Tensor.h>

#include "absl/types/span.h"
#include "server/plan/run_plan.h"
#include "server/plan/sequence_groups.h"

namespace hookwire::server {

// Changes the targets' slices in place, in the tensors' own dtype; `copy` reads its sources as they
// are now. values[s] is the tensor of the group's sequence s; no other may share the memory of the
// targets' tensors. Targets outside the group are left out. Where the client is shown the targets,
// answers[i] is what it makes of target i, undefined if it does not change it; otherwise `answers`
// is empty.
void ApplyOp(const OpPlan& op, const SequenceGroup& group, absl::Span<const at::Tensor> answers,
             absl::Span<const at::Tensor> values);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_APPLY_H_
