// The ops: what a client can ask for at a hook point. Each is one row of kOps. execute/apply.cc has
// the function that computes it.
#ifndef HOOKWIRE_SERVER_PLAN_OPS_H_
#define HOOKWIRE_SERVER_PLAN_OPS_H_

#include <array>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "hookwire/v1/run.pb.h"
#include "hookwire/v1/tensor.pb.h"
#include "model/adapter/catalogue.h"
#include "server/plan/field_path.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

class HookSlicer;
struct Planning;

// An intervention while it is planned.
struct PlannedIntervention {
  const Planning& planning;
  const v1::Intervention& message;
  // Of the op's field: "spec.interventions[0].copy".
  const FieldPath& op_path;
  // The sequences to change, ascending.
  std::vector<int> targets;
  // The client only reads the targets: the hook point need not be writable.
  bool read_only = false;
};

// How an op is planned. All ops select sequences, positions, heads and features, and all values
// broadcast to the selection: a row has only what is particular to the op.
struct Op {
  OpKind kind;
  // The number of the Value in the op's message; kNoValue if it sends none.
  int value = kNoValue;
  // Null, or called once for an intervention, when its targets are known: checks the other fields
  // of the op's message, and may change `targets` and `read_only`.
  absl::Status (*begin)(PlannedIntervention& intervention) = nullptr;
  // Null, or called for each hook point, when op.targets are known: fills in what else the pass
  // needs there.
  absl::Status (*complete)(const PlannedIntervention& intervention, const model::HookPoint& point,
                           HookSlicer& slicer, OpPlan& op) = nullptr;

  static constexpr int kNoValue = 0;
};

// copy: the source must exist. It is no target.
absl::Status LeaveOutSource(PlannedIntervention& intervention);
// copy: the slices to copy from, of the shapes of the targets.
absl::Status AddSources(const PlannedIntervention& intervention, const model::HookPoint& point,
                        HookSlicer& slicer, OpPlan& op);
// callback: the client can answer.
absl::Status CheckClientAnswers(PlannedIntervention& intervention);
// callback: the tensors that the client is shown.
absl::Status AddShownTensors(const PlannedIntervention& intervention, const model::HookPoint& point,
                             HookSlicer& slicer, OpPlan& op);

// In the order of the protocol, in which errors list them.
inline constexpr std::array kOps = {
    Op{OpKind::kSet, v1::SetOp::kValueFieldNumber},
    Op{OpKind::kAdd, v1::AddOp::kValueFieldNumber},
    Op{OpKind::kScale, v1::ScaleOp::kFactorFieldNumber},
    Op{OpKind::kZero},
    Op{OpKind::kCopy, Op::kNoValue, LeaveOutSource, AddSources},
    Op{OpKind::kCallback, Op::kNoValue, CheckClientAnswers, AddShownTensors},
};

// The row of an op; null for one that has none.
const Op* FindOp(OpKind kind);

// The op's field in Intervention: "set".
absl::string_view OpName(const Op& op);

// The field of the op's message that has its value: "factor". REQUIRES: the op sends one.
absl::string_view ValueName(const Op& op);

// The value that an intervention's op sends; null for an op that sends none, or is not set. An
// absent one is the empty Value.
const v1::Value* SentValue(const v1::Intervention& intervention);
// The same, to be changed; an absent one is made.
v1::Value* MutableSentValue(v1::Intervention& intervention);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_OPS_H_
