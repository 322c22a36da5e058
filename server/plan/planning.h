// The steps of planning, in the order in which Planner::Plan takes them. Private to plan/.
#ifndef HOOKWIRE_SERVER_PLAN_PLANNING_H_
#define HOOKWIRE_SERVER_PLAN_PLANNING_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hookwire/v1/run.pb.h"
#include "model/adapter/catalogue.h"
#include "model/text/text_model.h"
#include "server/plan/field_path.h"
#include "server/plan/name_matcher.h"
#include "server/plan/planner.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

// A request while it is being planned.
struct Planning {
  const model::TextModel& model;
  const Limits& limits;
  const v1::RunSpec& spec;
  RunPlan& plan;
  Planner::Client client;
  // Called for each filter, and for each hook point that a filter matches.
  Planner::KeepGoing keep_going;
  NameMatcher& names;

  const model::Catalogue& catalogue() const { return model.catalogue(); }
  int n_layers() const { return model.config().n_layers(); }
  int n_sequences() const { return static_cast<int>(plan.sequences.size()); }
  int64_t length(int sequence) const {
    return static_cast<int64_t>(plan.sequences[static_cast<size_t>(sequence)].size());
  }
  // The layer before which the pass ends; absent if the request does not say.
  std::optional<int> stop;
};

// Token ids, lengths and the number of sequences: fills plan.sequences and total_tokens.
absl::Status PlanSequences(Planning& planning);

// Whether the request's stop_at_layer exists: sets planning.stop.
absl::Status PlanStop(Planning& planning);

// Captures: fills plan.captures (tensors not yet numbered) and skipped.
absl::Status PlanCaptures(Planning& planning);

// Logits, log-probabilities, residual: fills plan.outputs (tensors not yet numbered).
absl::Status PlanOutputs(Planning& planning);

// Interventions: fills plan.ops (tensors of callbacks not yet numbered).
absl::Status PlanInterventions(Planning& planning);

// How far the pass runs: sets n_layers_run and finish.
void PlanReach(Planning& planning);

// FailedPrecondition (NEVER_FIRES) for an intervention that nothing in this run could show.
absl::Status CheckInterventionsShow(const Planning& planning);

// Numbers the tensors, adds up their bytes and checks the limits.
absl::Status PlanSize(Planning& planning);

// Computes the memory that the run's passes need and checks the limit: sets activation_bytes.
absl::Status PlanMemory(Planning& planning);

// Names (names.cc).

// Whether the pass reaches `point` if it ends before layer `stop`.
bool FiresBefore(const model::HookPoint& point, std::optional<int> stop);

// FailedPrecondition (NEVER_FIRES): the pass ends before layer `stop`, before it reaches `point`.
absl::Status BehindStop(const model::HookPoint& point, int stop, const FieldPath& path);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_PLANNING_H_
