#include "server/plan/planner.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"
#include "server/plan/check_fields.h"
#include "server/plan/describe.h"
#include "server/plan/field_path.h"
#include "server/plan/name_matcher.h"
#include "server/plan/planning.h"

namespace hookwire::server {

namespace {

absl::Status CheckEntries(int entries, int limit, const char* field, const char* what) {
  if (entries <= limit) return absl::OkStatus();
  const FieldPath root("spec");
  return InputError(
      v1::ERROR_REASON_TOO_MANY_ENTRIES, FieldPath(root, field),
      absl::StrCat("the run has ", entries, " ", what, ": this server takes at most ", limit,
                   " in one run; name many hook points with a glob such as "
                   "'blocks.*.hook_out', or send several runs"),
      {{"entries", absl::StrCat(entries)}, {"limit", absl::StrCat(limit)}});
}

}  // namespace

absl::StatusOr<std::shared_ptr<const RunPlan>> Planner::Plan(const v1::RunSpec& spec, Client client,
                                                             KeepGoing keep_going) const {
  auto plan = std::make_shared<RunPlan>();
  NameMatcher names(model_.catalogue());
  Planning planning{model_, limits_, spec, *plan, client, keep_going, names, {}};
  HOOKWIRE_RETURN_IF_ERROR(
      CheckEntries(spec.captures_size(), limits_.max_entries, "captures", "captures"));
  HOOKWIRE_RETURN_IF_ERROR(CheckEntries(spec.interventions_size(), limits_.max_entries,
                                        "interventions", "interventions"));
  HOOKWIRE_RETURN_IF_ERROR(CheckFields(spec));
  HOOKWIRE_RETURN_IF_ERROR(PlanSequences(planning));
  HOOKWIRE_RETURN_IF_ERROR(PlanStop(planning));
  HOOKWIRE_RETURN_IF_ERROR(PlanCaptures(planning));
  HOOKWIRE_RETURN_IF_ERROR(PlanOutputs(planning));
  HOOKWIRE_RETURN_IF_ERROR(PlanInterventions(planning));
  HOOKWIRE_RETURN_IF_ERROR(keep_going());
  PlanReach(planning);
  HOOKWIRE_RETURN_IF_ERROR(CheckInterventionsShow(planning));
  HOOKWIRE_RETURN_IF_ERROR(PlanSize(planning));
  HOOKWIRE_RETURN_IF_ERROR(PlanMemory(planning));
  HOOKWIRE_RETURN_IF_ERROR(keep_going());
  HOOKWIRE_RETURN_IF_ERROR(CheckDescription(*plan, spec));
  plan->allow_non_finite = spec.allow_non_finite();
  if (spec.max_message_bytes() != 0) plan->max_message_bytes = spec.max_message_bytes();
  return std::shared_ptr<const RunPlan>(std::move(plan));
}

absl::Status Planner::CheckDescription(const RunPlan& plan, const v1::RunSpec& spec) const {
  // A description of fewer tensors always fits, whatever their names are.
  constexpr uint32_t kFew = 2048;
  if (plan.n_tensors + plan.ops.size() <= kFew) return absl::OkStatus();
  const uint64_t limit = std::max(RunPlan().max_message_bytes, spec.max_message_bytes());
  const uint64_t bytes = Describe(plan).ByteSizeLong();
  if (bytes <= limit) return absl::OkStatus();
  return MakeError(absl::StrCat("the description of the result's ", plan.n_tensors,
                                " tensors would have ", bytes, " bytes, and a message has at most ",
                                limit, ": ask for fewer tensors, or set max_message_bytes"),
                   {v1::ERROR_REASON_TOO_MANY_TENSORS,
                    "spec.captures",
                    {{"tensors", absl::StrCat(plan.n_tensors)}, {"limit", absl::StrCat(limit)}}});
}

v1::Plan Planner::Describe(const RunPlan& plan) const { return DescribePlan(plan, model_); }

}  // namespace hookwire::server
