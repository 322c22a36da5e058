// One intervention at one hook point, applied to the tensors of all sequences.
#ifndef HOOKWIRE_SERVER_EXECUTE_APPLY_H_
#define HOOKWIRE_SERVER_EXECUTE_APPLY_H_

#include <ATen/core/Tensor.h>

#include "absl/types/span.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

// Changes the targets' slices of values[sequence] in place, in the tensors' own dtype; `copy` reads
// values[source sequence] as it is now. The targets' tensors must be the caller's own.
void ApplyOp(const OpPlan& op, absl::Span<const at::Tensor> values);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_APPLY_H_
