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

// The positions from the first to the last selected one.
model::RowRange Hull(const AxisPick& pick) {
  if (pick.IsRange()) return {pick.start, pick.start + (pick.count - 1) * pick.step + 1};
  const auto* const indices = pick.indices.const_data_ptr<int64_t>();
  const auto [first, last] = std::minmax_element(indices, indices + pick.count);
  return {*first, *last + 1};
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

// Of tensors that are emitted together: larger ones gain nothing by it.
constexpr uint64_t kMostJoinedBytes = 1 << 20;

// Whether both are contiguous on the CPU, and the elements of `second` follow those of `first` in
// one storage.
bool Follows(const at::Tensor& first, const at::Tensor& second) {
  return first.defined() && second.defined() && first.is_cpu() && first.is_contiguous() &&
         second.is_contiguous() && first.is_alias_of(second) &&
         first.scalar_type() == second.scalar_type() &&
         second.storage_offset() == first.storage_offset() + first.numel();
}

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

absl::Status RunTap::Visit(model::HookId hook, absl::Span<const model::RowRange> rows,
                           absl::Span<at::Tensor> values) {
  const model::HookPoint& point = catalogue_.point(hook);
  if (!Wants(hook)) return Internal(absl::StrCat("nobody wants ", point.name));
  Work& work = WorkAt(hook);
  if (work.visited) return Internal(absl::StrCat("the pass came to ", point.name, " twice"));
  work.visited = true;
  HOOKWIRE_RETURN_IF_ERROR(CheckValues(point, work, rows, values));
  bool is_whole = true;
  for (size_t s = 0; s < rows.size(); ++s) {
    is_whole &= !work.wanted[s] || rows[s] == model::RowRange{0, Length(static_cast<int>(s))};
  }
  WorkOnRest rest;
  if (!is_whole) {
    HOOKWIRE_RETURN_IF_ERROR(CheckLeft(point, work, rows));
    rest = OnRest(point, work, rows);
  }
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

int64_t RunTap::Length(int sequence) const {
  const int planned = group_.sequences[static_cast<size_t>(sequence)];
  return static_cast<int64_t>(plan_.sequences[static_cast<size_t>(planned)].size());
}

absl::Status RunTap::CheckValues(const model::HookPoint& point, const Work& work,
                                 absl::Span<const model::RowRange> rows,
                                 absl::Span<const at::Tensor> values) const {
  if (values.size() != group_.sequences.size() || rows.size() != values.size()) {
    return Internal(absl::StrCat(point.name, " was shown for ", values.size(),
                                 " sequences, not for ", group_.sequences.size()));
  }
  for (size_t s = 0; s < values.size(); ++s) {
    if (!work.wanted[s]) continue;
    const int64_t length = Length(static_cast<int>(s));
    bool fits = values[s].defined() && values[s].dim() == static_cast<int64_t>(point.axes.size());
    for (size_t i = 0; fits && i < point.axes.size(); ++i) {
      const model::Axis& axis = point.axes[i];
      const int64_t size = values[s].size(static_cast<int64_t>(i));
      if (axis.kind == model::AxisKind::kPosition) {
        fits = size == rows[s].end - rows[s].begin && rows[s].begin >= 0 && rows[s].end <= length;
      } else {
        fits = size == (axis.kind == model::AxisKind::kKeyPosition ? length : axis.size);
      }
    }
    if (!fits) {
      return Internal(absl::StrCat(point.name, " of sequence ", group_.sequences[s],
                                   " has not the axes that the catalogue gives"));
    }
  }
  return absl::OkStatus();
}

absl::Status RunTap::CheckLeft(const model::HookPoint& point, const Work& work,
                               absl::Span<const model::RowRange> rows) const {
  absl::Status status;
  ForEachReadAt(point, work, [&](int s, model::HookId, model::RowRange read) {
    const model::RowRange& left = rows[static_cast<size_t>(s)];
    if (left.begin <= read.begin && read.end <= left.end) return;
    status = Internal(absl::StrCat("rows ", read.begin, " to ", read.end - 1, " of sequence ",
                                   group_.sequences[static_cast<size_t>(s)],
                                   " are not all left in the pass at ", point.name));
  });
  return status;
}

void RunTap::ForEachReadAt(const model::HookPoint& point, const Work& work, RowRead read) const {
  const std::optional<size_t> axis = PositionAxis(point);
  const auto select = [&](const Slice& slice) {
    if (!group_.Has(slice)) return;
    const int s = group_.index(slice);
    read(s, point.id, axis.has_value() ? Hull(slice.picks[*axis]) : model::RowRange{0, Length(s)});
  };
  for (const CapturePlan* capture : work.captures) {
    for (const TensorPlan& tensor : capture->tensors) select(tensor.slice);
  }
  for (const OpPlan* op : work.ops) {
    std::for_each(op->targets.begin(), op->targets.end(), select);
    std::for_each(op->sources.begin(), op->sources.end(), select);
  }
}

void RunTap::ForEachReadOfOutputs(RowRead read) const {
  const model::HookId end = catalogue_.id(model::Site::kLnFinalIn);
  for (const OutputPlan& output : plan_.outputs) {
    for (size_t s = 0; s < group_.sequences.size(); ++s) {
      const auto sequence = static_cast<int>(s);
      const auto planned = static_cast<size_t>(group_.sequences[s]);
      switch (output.source) {
        case v1::TensorGroup::SOURCE_LOGITS:
          read(sequence, end, Hull(output.tensors[planned].slice.picks[0]));
          break;
        case v1::TensorGroup::SOURCE_LOG_PROBS:
          for (const int64_t position : output.positions[planned])
            read(sequence, end, {position, position + 1});
          break;
        default: {
          // The residual stream as it enters the layer before which the pass ends.
          const int layer = plan_.n_layers_run;
          const bool is_last = layer == catalogue_.point(end).layers_needed;
          read(sequence, is_last ? end : catalogue_.id(model::Site::kBlockIn, layer),
               {0, Length(sequence)});
        }
      }
    }
  }
}

bool RunTap::ForEachRead(RowRead read) const {
  for (const model::HookPoint& point : catalogue_.points()) {
    const int32_t work = work_of_[static_cast<size_t>(point.id)];
    if (work != kNoWork) ForEachReadAt(point, work_[static_cast<size_t>(work)], read);
  }
  ForEachReadOfOutputs(read);
  return true;
}

RunTap::WorkOnRest RunTap::OnRest(const model::HookPoint& point, const Work& work,
                                  absl::Span<const model::RowRange> rows) const {
  const std::optional<size_t> axis = PositionAxis(point);
  const auto move = [&](Slice& slice) {
    if (!axis.has_value() || !group_.Has(slice)) return;
    const int64_t gone = rows[static_cast<size_t>(group_.index(slice))].begin;
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
    if (plan_.join_tensors && masks.empty()) {
      HOOKWIRE_RETURN_IF_ERROR(EmitJoined(point, *capture, values));
      continue;
    }
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

absl::Status RunTap::EmitJoined(const model::HookPoint& point, const CapturePlan& capture,
                                absl::Span<const at::Tensor> values) {
  const absl::Span<const TensorPlan> tensors = capture.tensors;
  std::vector<at::Tensor> selected(tensors.size());  // undefined for sequences of other passes
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!group_.Has(tensors[i].slice)) continue;
    selected[i] = ReadSlice(values[static_cast<size_t>(group_.index(tensors[i].slice))],
                            tensors[i].slice.picks);
  }
  for (size_t first = 0; first < tensors.size();) {
    size_t end = first + 1;
    uint64_t bytes = tensors[first].bytes;
    while (end < tensors.size() && emitter_.MayJoin(tensors[end - 1], tensors[end]) &&
           Follows(selected[end - 1], selected[end]) &&
           bytes + tensors[end].bytes <= kMostJoinedBytes) {
      bytes += tensors[end].bytes;
      ++end;
    }
    if (end > first + 1) {
      const auto elements = static_cast<int64_t>(bytes / c10::elementSize(capture.dtype));
      HOOKWIRE_RETURN_IF_ERROR(emitter_.EmitTogether(tensors.subspan(first, end - first),
                                                     capture.dtype, point.name,
                                                     selected[first].as_strided({elements}, {1})));
    } else if (selected[first].defined()) {
      HOOKWIRE_RETURN_IF_ERROR(
          emitter_.Emit(tensors[first], capture.dtype, point.name, selected[first]));
    }
    first = end;
  }
  return absl::OkStatus();
}

absl::Status RunTap::Apply(const model::HookPoint& point, const Work& work,
                           const std::vector<at::Tensor>& masks, absl::Span<at::Tensor> values) {
  std::vector<bool> own(values.size(), false);
  for (const OpPlan* op : work.ops) {
    std::vector<at::Tensor> answers;
    if (op->is_shown()) {
      HOOKWIRE_ASSIGN_OR_RETURN(answers, Ask(point, *op, masks, values));
      // The tensor that was shown may still be being sent: the next change works on a copy again.
      for (const Slice& target : op->targets)
        own[static_cast<size_t>(group_.index(target))] = false;
    }
    for (size_t i = 0; i < op->targets.size(); ++i) {
      if (!group_.Has(op->targets[i]) || (op->is_shown() && !answers[i].defined())) continue;
      const auto s = static_cast<size_t>(group_.index(op->targets[i]));
      if (own[s]) continue;
      // Never write into the tensor that was shown: it may be being sent.
      values[s] = values[s].clone(at::MemoryFormat::Contiguous);
      own[s] = true;
    }
    ApplyOp(*op, group_, answers, values);
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
