#include "server/plan/planner.h"

#include <google/protobuf/arena.h>

#include <algorithm>
#include <cstdint>
#include <string>
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

// At least as many bytes as the plan's description has, without making it.
uint64_t MostDescriptionBytes(const RunPlan& plan) {
  // Of a tensor: its sequence, at most three sizes, and their tags. Of a group: its hook point's
  // name and axes, and numbers.
  constexpr uint64_t kTensor = 32;
  constexpr uint64_t kGroup = 512;
  uint64_t bytes = kGroup + plan.n_tensors * kTensor;
  bytes += (plan.captures.size() + plan.outputs.size() + plan.ops.size()) * kGroup;
  for (const CapturePlan& capture : plan.captures) {
    // Five bytes for a number; a name has a tag and its length.
    bytes += 5 * capture.captures.size();
    for (const std::string& name : capture.names) bytes += name.size() + 8;
  }
  for (const std::string& name : plan.skipped) bytes += name.size() + 8;
  return bytes;
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
  plan->join_tensors = spec.join_tensors();
  if (spec.max_message_bytes() != 0) plan->max_message_bytes = spec.max_message_bytes();
  return std::shared_ptr<const RunPlan>(std::move(plan));
}

absl::Status Planner::CheckDescription(const RunPlan& plan, const v1::RunSpec& spec) const {
  const uint64_t limit = std::max(RunPlan().max_message_bytes, spec.max_message_bytes());
  if (MostDescriptionBytes(plan) <= limit) return absl::OkStatus();
  google::protobuf::Arena arena;
  auto* const description = google::protobuf::Arena::CreateMessage<v1::Plan>(&arena);
  Describe(plan, *description);
  const uint64_t bytes = description->ByteSizeLong();
  if (bytes <= limit) return absl::OkStatus();
  return MakeError(absl::StrCat("the description of the result's ", plan.n_tensors,
                                " tensors would have ", bytes, " bytes, and a message has at most ",
                                limit, ": ask for fewer tensors, or set max_message_bytes"),
                   {v1::ERROR_REASON_TOO_MANY_TENSORS,
                    "spec.captures",
                    {{"tensors", absl::StrCat(plan.n_tensors)}, {"limit", absl::StrCat(limit)}}});
}

void Planner::Describe(const RunPlan& plan, v1::Plan& description) const {
  DescribePlan(plan, model_, description);
}

}  // namespace hookwire::server
