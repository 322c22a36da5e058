// An upper bound of the memory that a pass needs, computed from the plan.
#ifndef HOOKWIRE_SERVER_PLAN_ACTIVATION_MEMORY_H_
#define HOOKWIRE_SERVER_PLAN_ACTIVATION_MEMORY_H_

#include <cstdint>
#include <limits>
#include <vector>

#include "model/numerics.h"
#include "model/text/text_model.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

// An upper bound, in bytes, of what a pass of these sequences of the plan (numbers into
// plan.sequences) holds at one time: the pass's state, the largest tensors of the largest layer,
// and the tensor that is being emitted. It does not include weights and tensors that wait for their
// reader. The bound for several runs that share a pass is the sum of theirs.
//
// The arithmetic follows model/text step by step; activation_memory_test compares it with what the
// allocator measures.
//
// `longest`: computes the bound as if longer sequences were cut to so many tokens.
uint64_t ActivationBytes(const model::TextModel& model, model::Numerics numerics,
                         const RunPlan& plan, const std::vector<int>& sequences,
                         int64_t longest = std::numeric_limits<int64_t>::max());

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_ACTIVATION_MEMORY_H_
