#include "server/plan/ops.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/errors/status_macros.h"
#include "server/plan/dtypes.h"
#include "server/plan/hook_slicer.h"
#include "server/plan/planning.h"

namespace hookwire::server {
namespace {

using google::protobuf::FieldDescriptor;

const FieldDescriptor* OpField(const Op& op) {
  return v1::Intervention::descriptor()->FindFieldByNumber(op.kind);
}

const FieldDescriptor* ValueField(const Op& op) {
  return OpField(op)->message_type()->FindFieldByNumber(op.value);
}

// The row of an op that sends a value; null for another one.
const Op* FindOpWithValue(OpKind kind) {
  const Op* const op = FindOp(kind);
  return op == nullptr || op->value == Op::kNoValue ? nullptr : op;
}

std::string ShapeName(const Slice& slice) {
  return absl::StrCat("[", absl::StrJoin(ShapeOf(slice), ", "), "]");
}

}  // namespace

const Op* FindOp(OpKind kind) {
  const auto* const found =
      std::find_if(kOps.begin(), kOps.end(), [kind](const Op& op) { return op.kind == kind; });
  return found == kOps.end() ? nullptr : found;
}

absl::string_view OpName(const Op& op) { return OpField(op)->name(); }

absl::string_view ValueName(const Op& op) { return ValueField(op)->name(); }

const v1::Value* SentValue(const v1::Intervention& intervention) {
  const Op* const op = FindOpWithValue(intervention.op_case());
  if (op == nullptr) return nullptr;
  const google::protobuf::Message& message =
      intervention.GetReflection()->GetMessage(intervention, OpField(*op));
  return static_cast<const v1::Value*>(
      &message.GetReflection()->GetMessage(message, ValueField(*op)));
}

v1::Value* MutableSentValue(v1::Intervention& intervention) {
  const Op* const op = FindOpWithValue(intervention.op_case());
  if (op == nullptr) return nullptr;
  google::protobuf::Message* const message =
      intervention.GetReflection()->MutableMessage(&intervention, OpField(*op));
  return static_cast<v1::Value*>(
      message->GetReflection()->MutableMessage(message, ValueField(*op)));
}

// A copy of a sequence onto itself changes nothing: it is left out if all sequences are meant, and
// is an error if the sequence is named.
absl::Status LeaveOutSource(PlannedIntervention& intervention) {
  const FieldPath path(intervention.op_path, "from_sequence");
  const uint32_t source = intervention.message.copy().from_sequence();
  const int n_sequences = intervention.planning.n_sequences();
  if (source >= static_cast<uint32_t>(n_sequences)) {
    return NoSuchSequence(source, n_sequences, path);
  }
  std::vector<int>& targets = intervention.targets;
  const auto self = std::find(targets.begin(), targets.end(), static_cast<int>(source));
  if (self == targets.end()) return absl::OkStatus();
  if (!intervention.message.sequences().empty() || targets.size() == 1) {
    return InputError(v1::ERROR_REASON_BAD_SELECTION, path,
                      absl::StrCat("sequence ", source,
                                   " would be copied onto itself: copy from another sequence of "
                                   "the run"),
                      {{"sequence", absl::StrCat(source)}});
  }
  targets.erase(self);
  return absl::OkStatus();
}

absl::Status AddSources(const PlannedIntervention& intervention, const model::HookPoint& point,
                        HookSlicer& slicer, OpPlan& op) {
  const Planning& planning = intervention.planning;
  const int source = static_cast<int>(intervention.message.copy().from_sequence());
  HOOKWIRE_ASSIGN_OR_RETURN(const Slice from, slicer.Make(point, source, planning.length(source)));
  for (const Slice& target : op.targets) {
    if (ShapeOf(from) != ShapeOf(target)) {
      return InputError(
          v1::ERROR_REASON_VALUE_SHAPE, intervention.op_path,
          absl::StrCat("the slice of ", point.name, " in sequence ", source, " (",
                       planning.length(source), " tokens) is ", ShapeName(from),
                       ", and in sequence ", target.sequence, " (",
                       planning.length(target.sequence), " tokens) it is ", ShapeName(target),
                       ": select equally many positions",
                       point.axes.back().kind == model::AxisKind::kKeyPosition
                           ? " and key positions (features)"
                           : ""),
          {{"hook", point.name}, {"expected", ShapeName(target)}, {"got", ShapeName(from)}});
    }
    op.sources.push_back(from);
  }
  return absl::OkStatus();
}

absl::Status CheckClientAnswers(PlannedIntervention& intervention) {
  intervention.read_only = intervention.message.callback().read_only();
  if (intervention.planning.client == Planner::Client::kAnswers) return absl::OkStatus();
  return InputError(v1::ERROR_REASON_BAD_FIELD, intervention.op_path,
                    "a callback needs a client that answers: send the run through Interact");
}

absl::Status AddShownTensors(const PlannedIntervention& intervention, const model::HookPoint& point,
                             HookSlicer& /*slicer*/, OpPlan& op) {
  op.dtype = DtypeOf(point.dtype, intervention.planning.model.dtype());
  for (const Slice& target : op.targets) {
    TensorPlan tensor;
    tensor.slice = target;
    tensor.shape = ShapeOf(target);
    op.tensors.push_back(std::move(tensor));
  }
  return absl::OkStatus();
}

}  // namespace hookwire::server
