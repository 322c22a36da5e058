// Plans by the sizes of their tensors.
#ifndef HOOKWIRE_TESTS_UNIT_LOCAL_PLAN_OF_H_
#define HOOKWIRE_TESTS_UNIT_LOCAL_PLAN_OF_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "server/plan/run_plan.h"

namespace hookwire::server {

// A run with one tensor of each of these sizes.
inline RunPlan PlanOf(const std::vector<uint64_t>& sizes) {
  RunPlan plan;
  CapturePlan capture;
  for (const uint64_t bytes : sizes) {
    capture.tensors.push_back({plan.n_tensors++, {}, {}, bytes});
    plan.total_bytes += bytes;
  }
  plan.captures.push_back(std::move(capture));
  return plan;
}

}  // namespace hookwire::server

#endif  // HOOKWIRE_TESTS_UNIT_LOCAL_PLAN_OF_H_
