// How much memory a run's pass works with, by arithmetic, before anything is computed.
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
// plan.sequences) holds at one time: the pass's state, the widest step of the widest layer, and the
// tensor that is on its way out. Weights, and tensors that wait for their reader, are not in it.
// Bounds of passes that run together add up.
//
// Follows model/text step by step; activation_memory_test holds it against what the allocator saw.
//
// `longest`: as if all longer sequences were cut to so many tokens.
uint64_t ActivationBytes(const model::TextModel& model, model::Numerics numerics,
                         const RunPlan& plan, const std::vector<int>& sequences,
                         int64_t longest = std::numeric_limits<int64_t>::max());

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_ACTIVATION_MEMORY_H_
