// The outputs of a pass that are made of its logits, block by block: logits, and log-probabilities
// of targets.
#ifndef HOOKWIRE_SERVER_EXECUTE_OUTPUTS_H_
#define HOOKWIRE_SERVER_EXECUTE_OUTPUTS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "server/execute/emitter.h"
#include "server/plan/run_plan.h"
#include "server/plan/sequence_groups.h"

namespace hookwire::server {

// For one pass, on the thread that runs it.
class LogitsOutputs {
 public:
  // All must outlive this.
  LogitsOutputs(const RunPlan& plan, const SequenceGroup& group, Emitter& emitter);

  // By sequence of the pass: the positions whose logits are needed. First those whose logits are
  // sent, in the order in which they are sent.
  const std::vector<std::vector<int64_t>>& rows() const { return rows_; }

  // A block of logits, as model::TextModel::LogitsSink gets it.
  absl::Status Take(int sequence, int64_t first, const at::Tensor& logits);

  // After the last Take.
  absl::Status Finish();

 private:
  absl::Status Send(size_t sequence, int64_t first, const at::Tensor& logits);
  absl::Status Score(size_t sequence, int64_t first, const at::Tensor& logits);

  const SequenceGroup& group_;
  Emitter& emitter_;
  const OutputPlan* const logits_;     // null: not wanted
  const OutputPlan* const log_probs_;  // null: not wanted
  std::vector<std::vector<int64_t>> rows_;
  // By sequence of the pass and target: its index in rows_, and its log-probability.
  std::vector<std::vector<int64_t>> target_rows_;
  std::vector<at::Tensor> scores_;
};

// The output of one kind, or null.
const OutputPlan* FindOutput(const RunPlan& plan, v1::TensorGroup::Source source);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_OUTPUTS_H_
