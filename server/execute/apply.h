// One intervention at one hook point, applied to the tensors of a pass.
#ifndef HOOKWIRE_SERVER_EXECUTE_APPLY_H_
#define HOOKWIRE_SERVER_EXECUTE_APPLY_H_

#include <ATen/core/Tensor.h>

#include "absl/types/span.h"
#include "server/plan/pass.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

// Changes the targets' slices in place, in the tensors' own dtype; `copy` reads its sources as they
// are now. values[s] is the tensor of the pass's sequence s; the targets' must be the caller's own.
// Targets in other passes are left out. REQUIRES: it is no callback.
void ApplyOp(const OpPlan& op, const Pass& pass, absl::Span<const at::Tensor> values);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_APPLY_H_
