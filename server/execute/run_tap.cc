#include "server/execute/run_tap.h"

#include <ATen/ops/clone.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/isneginf.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"
#include "server/execute/apply.h"
#include "server/execute/slices.h"

namespace hookwire::server {
namespace {

absl::Status Internal(const std::string& message) {
  return MakeError(message, {v1::ERROR_REASON_INTERNAL, "", {}});
}

// The first selected position.
int64_t First(const AxisPick& pick) {
  return pick.IsRange() ? pick.start : pick.indices.min().item<int64_t>();
}

// The axis of positions, if there is one.
std::optional<size_t> PositionAxis(const model::HookPoint& point) {
  const auto at = std::find_if(point.axes.begin(), point.axes.end(), [](const model::Axis& axis) {
    return axis.kind == model::AxisKind::kPosition;
  });
  if (at == point.axes.end()) return std::nullopt;
  return static_cast<size_t>(at - point.axes.begin());
}

constexpr double kMasked = -std::numeric_limits<double>::infinity();

// How many elements of a slice are masked, 0-d; undefined if `masks` is empty: nothing is masked.
at::Tensor CountMasked(const std::vector<at::Tensor>& masks, size_t s, const Slice& slice) {
  if (masks.empty()) return {};
  return ReadSlice(masks[s], slice.picks).sum();
}

}  // namespace

RunTap::RunTap(const RunPlan& plan, const SequenceGroup& group, const model::Catalogue& catalogue,
               Emitter& emitter)
    : plan_(plan),
      group_(group),
      catalogue_(catalogue),
      emitter_(emitter),
      work_of_(static_cast<size_t>(catalogue.size()), kNoWork) {
  const auto has = [&group](const Slice& slice) { return group.Has(slice); };
  const auto want = [&group](Work& work, const Slice& slice) {
    if (group.Has(slice)) work.wanted[static_cast<size_t>(group.index(slice))] = true;
  };
  for (const CapturePlan& capture : plan.captures) {
    if (!std::any_of(capture.tensors.begin(), capture.tensors.end(),
                     [&](const TensorPlan& tensor) { return has(tensor.slice); })) {
      continue;
    }
    Work& work = WorkAt(capture.hook);
    work.captures.push_back(&capture);
    for (const TensorPlan& tensor : capture.tensors) want(work, tensor.slice);
  }
  for (const OpPlan& op : plan.ops) {
    if (!std::any_of(op.targets.begin(), op.targets.end(), has)) continue;
    Work& work = WorkAt(op.hook);
    work.ops.push_back(&op);
    for (const Slice& target : op.targets) want(work, target);
    for (const Slice& source : op.sources) want(work, source);
  }
}

RunTap::Work& RunTap::WorkAt(model::HookId hook) {
  int32_t& work = work_of_[static_cast<size_t>(hook)];
  if (work == kNoWork) {
    work = static_cast<int32_t>(work_.size());
    work_.emplace_back().wanted.resize(group_.sequences.size());
  }
  return work_[static_cast<size_t>(work)];
}

absl::Status RunTap::Visit(model::HookId hook, absl::Span<at::Tensor> values) {
  const model::HookPoint& point = catalogue_.point(hook);
  if (!Wants(hook)) return Internal(absl::StrCat("nobody wants ", point.name));
  Work& work = WorkAt(hook);
  if (work.visited) return Internal(absl::StrCat("the pass came to ", point.name, " twice"));
  work.visited = true;
  HOOKWIRE_ASSIGN_OR_RETURN(const std::vector<int64_t> left, CheckValues(point, work, values));
  const bool is_whole =
      std::all_of(left.begin(), left.end(), [](int64_t rows) { return rows == 0; });
  const WorkOnRest rest = is_whole ? WorkOnRest{} : OnRest(point, work, left);
  const Work& todo = is_whole ? work : rest.work;

  std::vector<at::Tensor> masks;  // [head, pos, key_pos] a wanted sequence
  if (point.site == model::Site::kAttnScores) {
    masks.resize(values.size());
    for (size_t s = 0; s < values.size(); ++s) {
      if (work.wanted[s]) masks[s] = at::isneginf(values[s]);
    }
  }
  HOOKWIRE_RETURN_IF_ERROR(EmitCaptures(point, todo, /*before=*/true, values, masks));
  HOOKWIRE_RETURN_IF_ERROR(Apply(point, todo, masks, values));
  return EmitCaptures(point, todo, /*before=*/false, values, masks);
}

absl::StatusOr<std::vector<int64_t>> RunTap::CheckValues(
    const model::HookPoint& point, const Work& work, absl::Span<const at::Tensor> values) const {
  if (values.size() != group_.sequences.size()) {
    return Internal(absl::StrCat(point.name, " was shown for ", values.size(),
                                 " sequences, not for ", group_.sequences.size()));
  }
  std::vector<int64_t> left(values.size(), 0);
  for (size_t s = 0; s < values.size(); ++s) {
    if (!work.wanted[s]) continue;
    const std::vector<int64_t>& sequence =
        plan_.sequences[static_cast<size_t>(group_.sequences[s])];
    const auto length = static_cast<int64_t>(sequence.size());
    bool fits = values[s].defined() && values[s].dim() == static_cast<int64_t>(point.axes.size());
    for (size_t i = 0; fits && i < point.axes.size(); ++i) {
      const model::Axis& axis = point.axes[i];
      const int64_t size = values[s].size(static_cast<int64_t>(i));
      if (axis.kind == model::AxisKind::kPosition) {
        left[s] = length - size;
        fits = size > 0 && left[s] >= 0;
      } else {
        fits = size == (axis.kind == model::AxisKind::kKeyPosition ? length : axis.size);
      }
    }
    if (!fits) {
      return Internal(absl::StrCat(point.name, " of sequence ", group_.sequences[s],
                                   " has not the axes that the catalogue gives"));
    }
  }
  if (std::any_of(left.begin(), left.end(), [](int64_t rows) { return rows > 0; })) {
    std::vector<int64_t> first(left.size(), std::numeric_limits<int64_t>::max());
    LowerToFirstRead(point, work, first);
    for (size_t s = 0; s < left.size(); ++s) {
      if (first[s] >= left[s]) continue;
      return Internal(absl::StrCat("position ", first[s], " of sequence ", group_.sequences[s],
                                   " has left the pass before ", point.name));
    }
  }
  return left;
}

void RunTap::LowerToFirstRead(const model::HookPoint& point, const Work& work,
                              std::vector<int64_t>& first) const {
  const std::optional<size_t> axis = PositionAxis(point);
  const auto read = [&](const Slice& slice) {
    if (!group_.Has(slice)) return;
    int64_t& lowest = first[static_cast<size_t>(group_.index(slice))];
    lowest = std::min(lowest, axis.has_value() ? First(slice.picks[*axis]) : 0);
  };
  for (const CapturePlan* capture : work.captures) {
    for (const TensorPlan& tensor : capture->tensors) read(tensor.slice);
  }
  for (const OpPlan* op : work.ops) {
    std::for_each(op->targets.begin(), op->targets.end(), read);
    std::for_each(op->sources.begin(), op->sources.end(), read);
  }
}

std::vector<int64_t> RunTap::FirstRead(int layers) const {
  std::vector<int64_t> first(group_.sequences.size(), std::numeric_limits<int64_t>::max());
  for (const model::HookPoint& point : catalogue_.points()) {
    if (point.layers_needed <= layers || !Wants(point.id)) continue;
    LowerToFirstRead(point, work_[static_cast<size_t>(work_of_[static_cast<size_t>(point.id)])],
                     first);
  }
  return first;
}

RunTap::WorkOnRest RunTap::OnRest(const model::HookPoint& point, const Work& work,
                                  const std::vector<int64_t>& left) const {
  const std::optional<size_t> axis = PositionAxis(point);
  const auto move = [&](Slice& slice) {
    if (!axis.has_value() || !group_.Has(slice)) return;
    const int64_t gone = left[static_cast<size_t>(group_.index(slice))];
    AxisPick& pick = slice.picks[*axis];
    if (pick.IsRange()) {
      pick.start -= gone;
    } else {
      pick.indices = pick.indices.sub(gone);
    }
  };
  WorkOnRest rest;
  rest.work = work;
  for (const CapturePlan* capture : work.captures) rest.captures.push_back(*capture);
  for (const OpPlan* op : work.ops) rest.ops.push_back(*op);
  for (size_t i = 0; i < rest.captures.size(); ++i) {
    for (TensorPlan& tensor : rest.captures[i].tensors) move(tensor.slice);
    rest.work.captures[i] = &rest.captures[i];
  }
  for (size_t i = 0; i < rest.ops.size(); ++i) {
    OpPlan& op = rest.ops[i];
    std::for_each(op.targets.begin(), op.targets.end(), move);
    std::for_each(op.sources.begin(), op.sources.end(), move);
    for (TensorPlan& tensor : op.tensors) move(tensor.slice);
    rest.work.ops[i] = &op;
  }
  return rest;
}

absl::Status RunTap::EmitCaptures(const model::HookPoint& point, const Work& work, bool before,
                                  absl::Span<const at::Tensor> values,
                                  const std::vector<at::Tensor>& masks) {
  for (const CapturePlan* capture : work.captures) {
    if (capture->before_interventions != before) continue;
    for (const TensorPlan& tensor : capture->tensors) {
      if (!group_.Has(tensor.slice)) continue;
      const auto s = static_cast<size_t>(group_.index(tensor.slice));
      HOOKWIRE_RETURN_IF_ERROR(emitter_.Emit(tensor, capture->dtype, point.name,
                                             ReadSlice(values[s], tensor.slice.picks),
                                             CountMasked(masks, s, tensor.slice)));
    }
  }
  return absl::OkStatus();
}

absl::Status RunTap::Apply(const model::HookPoint& point, const Work& work,
                           const std::vector<at::Tensor>& masks, absl::Span<at::Tensor> values) {
  std::vector<bool> own(values.size(), false);
  for (const OpPlan* op : work.ops) {
    const bool is_callback = op->kind == OpKind::kCallback;
    std::vector<at::Tensor> answers;
    if (is_callback) {
      HOOKWIRE_ASSIGN_OR_RETURN(answers, Ask(point, *op, masks, values));
      // The tensor that was shown may still be being sent: the next change works on a copy again.
      for (const Slice& target : op->targets)
        own[static_cast<size_t>(group_.index(target))] = false;
    }
    for (size_t i = 0; i < op->targets.size(); ++i) {
      if (!group_.Has(op->targets[i]) || (is_callback && !answers[i].defined())) continue;
      const auto s = static_cast<size_t>(group_.index(op->targets[i]));
      if (own[s]) continue;
      // Never write into the tensor that was shown: it may be being sent.
      values[s] = values[s].clone(at::MemoryFormat::Contiguous);
      own[s] = true;
    }
    if (is_callback) {
      for (size_t i = 0; i < answers.size(); ++i) {
        if (!answers[i].defined()) continue;
        ChangeSlice(values[static_cast<size_t>(group_.index(op->targets[i]))], op->targets[i].picks,
                    [&](at::Tensor& part) { part.copy_(answers[i]); });
      }
    } else {
      ApplyOp(*op, group_, values);
    }
    if (masks.empty()) continue;
    for (const Slice& target : op->targets) {
      if (!group_.Has(target)) continue;
      const auto s = static_cast<size_t>(group_.index(target));
      if (own[s]) values[s].masked_fill_(masks[s], kMasked);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<at::Tensor>> RunTap::Ask(const model::HookPoint& point, const OpPlan& op,
                                                    const std::vector<at::Tensor>& masks,
                                                    absl::Span<const at::Tensor> values) {
  // The targets of a callback are all in one pass.
  std::vector<at::Tensor> shown;
  for (const TensorPlan& tensor : op.tensors) {
    const auto s = static_cast<size_t>(group_.index(tensor.slice));
    shown.push_back(ReadSlice(values[s], tensor.slice.picks));
    HOOKWIRE_RETURN_IF_ERROR(emitter_.Emit(tensor, op.dtype, point.name, shown.back(),
                                           CountMasked(masks, s, tensor.slice)));
  }
  if (op.read_only) return std::vector<at::Tensor>(op.tensors.size());
  HOOKWIRE_ASSIGN_OR_RETURN(std::vector<at::Tensor> answers, emitter_.AwaitAnswer(op));
  for (size_t i = 0; i < answers.size() && !plan_.allow_non_finite; ++i) {
    if (!answers[i].defined()) continue;
    at::Tensor made = at::isfinite(answers[i])
                          .logical_not_()
                          .logical_and_(at::isfinite(shown[i]).to(answers[i].device()));
    if (!masks.empty()) made.logical_and_(at::isneginf(answers[i]).logical_not_());
    if (!made.any().item<bool>()) continue;
    return MakeError(
        absl::StrCat("the answer at ", point.name, " for sequence ", op.targets[i].sequence,
                     " has NaN or infinity where there were finite numbers: set allow_non_finite "
                     "if that is meant"),
        {v1::ERROR_REASON_VALUE_NOT_FINITE,
         absl::StrCat("spec.interventions[", op.intervention, "].callback"),
         {{"hook", point.name}}});
  }
  return answers;
}

absl::Status RunTap::CheckComplete() const {
  for (const Work& work : work_) {
    if (work.visited || work.ops.empty()) continue;
    const OpPlan& op = *work.ops.front();
    return Internal(absl::StrCat("intervention ", op.intervention,
                                 " did not run: the pass did not come to ",
                                 catalogue_.point(op.hook).name));
  }
  return absl::OkStatus();
}

}  // namespace hookwire::server
