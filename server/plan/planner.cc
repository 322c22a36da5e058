#include "server/plan/planner.h"

#include <utility>

#include "server/errors/status_macros.h"
#include "server/plan/check_fields.h"
#include "server/plan/describe.h"
#include "server/plan/planning.h"

namespace hookwire::server {

absl::StatusOr<std::shared_ptr<const RunPlan>> Planner::Plan(const v1::RunSpec& spec) const {
  auto plan = std::make_shared<RunPlan>();
  Planning planning{model_, limits_, spec, *plan, {}};
  HOOKWIRE_RETURN_IF_ERROR(CheckFields(spec));
  HOOKWIRE_RETURN_IF_ERROR(PlanSequences(planning));
  HOOKWIRE_RETURN_IF_ERROR(PlanStop(planning));
  HOOKWIRE_RETURN_IF_ERROR(PlanCaptures(planning));
  HOOKWIRE_RETURN_IF_ERROR(PlanOutputs(planning));
  PlanReach(planning);
  HOOKWIRE_RETURN_IF_ERROR(PlanInterventions(planning));
  HOOKWIRE_RETURN_IF_ERROR(PlanSize(planning));
  if (spec.max_message_bytes() != 0) plan->max_message_bytes = spec.max_message_bytes();
  return std::shared_ptr<const RunPlan>(std::move(plan));
}

v1::Plan Planner::Describe(const RunPlan& plan) const { return DescribePlan(plan, model_); }

}  // namespace hookwire::server
