#include "server/execute/outputs.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstddef>
#include <map>

#include "server/errors/status_macros.h"
#include "server/execute/log_probs.h"
#include "server/plan/describe.h"

namespace hookwire::server {
namespace {

// The positions that a pick selects, in the pick's order.
std::vector<int64_t> Indices(const AxisPick& pick) {
  std::vector<int64_t> indices(static_cast<size_t>(pick.count));
  for (int64_t i = 0; i < pick.count; ++i) {
    indices[static_cast<size_t>(i)] =
        pick.IsRange() ? pick.start + i * pick.step : pick.indices.const_data_ptr<int64_t>()[i];
  }
  return indices;
}

}  // namespace

const OutputPlan* FindOutput(const RunPlan& plan, v1::TensorGroup::Source source) {
  for (const OutputPlan& output : plan.outputs) {
    if (output.source == source) return &output;
  }
  return nullptr;
}

LogitsOutputs::LogitsOutputs(const RunPlan& plan, const SequenceGroup& group, Emitter& emitter)
    : group_(group),
      emitter_(emitter),
      logits_(FindOutput(plan, v1::TensorGroup::SOURCE_LOGITS)),
      log_probs_(FindOutput(plan, v1::TensorGroup::SOURCE_LOG_PROBS)),
      rows_(group.sequences.size()),
      target_rows_(group.sequences.size()) {
  for (size_t s = 0; s < rows_.size(); ++s) {
    const auto planned = static_cast<size_t>(group.sequences[s]);
    std::vector<int64_t>& rows = rows_[s];
    if (logits_ != nullptr) rows = Indices(logits_->tensors[planned].slice.picks[0]);
    if (log_probs_ == nullptr) continue;
    std::map<int64_t, int64_t> row_of;
    for (const int64_t position : rows) {
      row_of.emplace(position, static_cast<int64_t>(row_of.size()));
    }
    for (const int64_t position : log_probs_->positions[planned]) {
      const auto [at, is_new] = row_of.emplace(position, static_cast<int64_t>(rows.size()));
      if (is_new) rows.push_back(position);
      target_rows_[s].push_back(at->second);
    }
    scores_.push_back(at::empty({static_cast<int64_t>(target_rows_[s].size())}, at::kFloat));
  }
}

absl::Status LogitsOutputs::Take(int sequence, int64_t first, const at::Tensor& logits) {
  const auto s = static_cast<size_t>(sequence);
  if (log_probs_ != nullptr) HOOKWIRE_RETURN_IF_ERROR(Score(s, first, logits));
  return logits_ == nullptr ? absl::OkStatus() : Send(s, first, logits);
}

absl::Status LogitsOutputs::Send(size_t sequence, int64_t first, const at::Tensor& logits) {
  const TensorPlan& tensor = logits_->tensors[static_cast<size_t>(group_.sequences[sequence])];
  const int64_t count = std::min(logits.size(0), tensor.shape.front() - first);
  if (count <= 0) return absl::OkStatus();
  return emitter_.EmitRows(tensor, logits_->dtype, OutputName(logits_->source), first,
                           count == logits.size(0) ? logits : logits.narrow(0, 0, count));
}

absl::Status LogitsOutputs::Score(size_t sequence, int64_t first, const at::Tensor& logits) {
  const std::vector<int64_t>& tokens =
      log_probs_->targets[static_cast<size_t>(group_.sequences[sequence])];
  std::vector<size_t> targets;
  std::vector<int64_t> rows;
  std::vector<int64_t> of_targets;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const int64_t row = target_rows_[sequence][i] - first;
    if (row < 0 || row >= logits.size(0)) continue;
    targets.push_back(i);
    rows.push_back(row);
    of_targets.push_back(tokens[i]);
  }
  HOOKWIRE_ASSIGN_OR_RETURN(
      const at::Tensor scores,
      TargetLogProbs(logits, rows, of_targets, [this] { return emitter_.CheckWanted(); }));
  float* const out = scores_[sequence].mutable_data_ptr<float>();
  for (size_t i = 0; i < targets.size(); ++i) out[targets[i]] = scores.const_data_ptr<float>()[i];
  return absl::OkStatus();
}

absl::Status LogitsOutputs::Finish() {
  for (size_t s = 0; s < scores_.size(); ++s) {
    const TensorPlan& tensor = log_probs_->tensors[static_cast<size_t>(group_.sequences[s])];
    HOOKWIRE_RETURN_IF_ERROR(
        emitter_.Emit(tensor, log_probs_->dtype, OutputName(log_probs_->source), scores_[s]));
  }
  return absl::OkStatus();
}

}  // namespace hookwire::server
