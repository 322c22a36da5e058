#include "server/plan/describe.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/plan/dtypes.h"

namespace hookwire::server {
namespace {

void AddAxis(v1::TensorGroup& group, model::AxisKind kind, absl::string_view name) {
  v1::Axis* axis = group.add_axes();
  axis->set_kind(ToWire(kind));
  axis->set_name(name.data(), name.size());
}

// The tensors, and the sizes of the axes: 0 where they differ.
template <typename Group>
void AddTensors(v1::TensorGroup& group, const Group& plan) {
  group.set_dtype(ToWire(plan.dtype));
  group.mutable_tensors()->Reserve(static_cast<int>(plan.tensors.size()));
  for (const TensorPlan& tensor : plan.tensors) {
    v1::PlannedTensor* planned = group.add_tensors();
    planned->set_sequence(static_cast<uint32_t>(tensor.slice.sequence));
    planned->mutable_shape()->Assign(tensor.shape.begin(), tensor.shape.end());
  }
  for (int axis = 0; axis < group.axes_size(); ++axis) {
    const int64_t size = plan.tensors.front().shape[static_cast<size_t>(axis)];
    const bool same = std::all_of(
        plan.tensors.begin(), plan.tensors.end(),
        [&](const TensorPlan& tensor) { return tensor.shape[static_cast<size_t>(axis)] == size; });
    group.mutable_axes(axis)->set_size(same ? static_cast<uint64_t>(size) : 0);
  }
}

}  // namespace

const char* OutputName(v1::TensorGroup::Source source) {
  switch (source) {
    case v1::TensorGroup::SOURCE_LOGITS:
      return "logits";
    case v1::TensorGroup::SOURCE_LOG_PROBS:
      return "log_probs";
    case v1::TensorGroup::SOURCE_RESIDUAL:
      return "residual";
    default:
      return "";
  }
}

v1::Axis::Kind ToWire(model::AxisKind kind) {
  switch (kind) {
    case model::AxisKind::kPosition:
      return v1::Axis::KIND_POSITION;
    case model::AxisKind::kKeyPosition:
      return v1::Axis::KIND_KEY_POSITION;
    case model::AxisKind::kHead:
      return v1::Axis::KIND_HEAD;
    case model::AxisKind::kKeyValueHead:
      return v1::Axis::KIND_KEY_VALUE_HEAD;
    case model::AxisKind::kFeature:
      break;
  }
  return v1::Axis::KIND_FEATURE;
}

void DescribePlan(const RunPlan& plan, const model::TextModel& model, v1::Plan& description) {
  const model::Catalogue& catalogue = model.catalogue();
  for (const CapturePlan& capture : plan.captures) {
    const model::HookPoint& point = catalogue.point(capture.hook);
    v1::TensorGroup& group = *description.add_groups();
    group.set_source(v1::TensorGroup::SOURCE_CAPTURE);
    group.set_hook(point.name);
    for (const std::string& name : capture.names) group.add_names(name);
    group.mutable_captures()->Assign(capture.captures.begin(), capture.captures.end());
    for (const model::Axis& axis : point.axes) AddAxis(group, axis.kind, axis.name);
    AddTensors(group, capture);
  }
  for (const OutputPlan& output : plan.outputs) {
    v1::TensorGroup& group = *description.add_groups();
    group.set_source(output.source);
    AddAxis(group, model::AxisKind::kPosition, "pos");
    if (output.source == v1::TensorGroup::SOURCE_LOGITS) {
      AddAxis(group, model::AxisKind::kFeature, "d_vocab");
    } else if (output.source == v1::TensorGroup::SOURCE_RESIDUAL) {
      AddAxis(group, model::AxisKind::kFeature, "d_model");
    }
    AddTensors(group, output);
  }
  for (const OpPlan& op : plan.ops) {
    if (!op.is_shown()) continue;
    const model::HookPoint& point = catalogue.point(op.hook);
    v1::TensorGroup& group = *description.add_groups();
    group.set_source(v1::TensorGroup::SOURCE_CALLBACK);
    group.set_hook(point.name);
    group.set_intervention(op.intervention);
    for (const model::Axis& axis : point.axes) AddAxis(group, axis.kind, axis.name);
    AddTensors(group, op);
  }
  description.set_total_bytes(plan.total_bytes);
  description.set_total_tokens(plan.total_tokens);
  description.set_n_layers_run(static_cast<uint32_t>(plan.n_layers_run));
  for (const std::string& name : plan.skipped) description.add_skipped(name);

  std::vector<model::HookId> intervened;
  for (const OpPlan& op : plan.ops) {
    if (!op.read_only) intervened.push_back(op.hook);
  }
  std::sort(intervened.begin(), intervened.end());
  intervened.erase(std::unique(intervened.begin(), intervened.end()), intervened.end());
  for (const model::HookId hook : intervened) {
    description.add_intervened_hooks(catalogue.point(hook).name);
  }
}

}  // namespace hookwire::server
