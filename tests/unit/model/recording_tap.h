// A tap that records what it is shown and writes what a test tells it to; and passes with it.
#ifndef HOOKWIRE_TESTS_UNIT_MODEL_RECORDING_TAP_H_
#define HOOKWIRE_TESTS_UNIT_MODEL_RECORDING_TAP_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/tap/tap.h"
#include "model/text/text_model.h"

namespace hookwire::testing {

// Same shape, dtype and bytes.
bool SameBits(const at::Tensor& a, const at::Tensor& b);

class RecordingTap final : public model::Tap {
 public:
  // The value with which the pass continues.
  using Write = std::function<at::Tensor(const at::Tensor&)>;

  explicit RecordingTap(const model::Catalogue& catalogue) : catalogue_(catalogue) {}

  // All of these return *this. Names must exist. Without a list of sequences: all of them.
  RecordingTap& Read(const std::string& name, std::set<int> sequences = {});
  RecordingTap& ReadEverything();
  // Also reads. Writes at one hook point are applied in the order of these calls.
  RecordingTap& WriteAt(const std::string& name, Write write, std::set<int> sequences = {});
  // Ends the pass at this hook point, or after this layer.
  RecordingTap& FailAt(const std::string& name, absl::Status status);
  RecordingTap& FailAfter(int layer, absl::Status status);
  // Ends the pass before step number `step`, from 0, of the whole pass.
  RecordingTap& FailBeforeStep(int step, absl::Status status);

  // That only these rows are read at this hook point: the tap then knows what is read
  // (Tap::ForEachRead), and Read and WriteAt by themselves keep no row in the pass.
  RecordingTap& Need(const std::string& name, int sequence, model::RowRange rows);

  bool ForEachRead(RowRead read) const override;
  bool Wants(model::HookId hook) const override { return wanted_.count(hook) > 0; }
  bool Wants(model::HookId hook, int sequence) const override;
  absl::Status Visit(model::HookId hook, absl::Span<const model::RowRange> rows,
                     absl::Span<at::Tensor> values) override;
  absl::Status BetweenSteps() override;
  absl::Status LayerDone(int layer) override;

  // Hook points in the order of their visits, and layers in the order in which they were done.
  const std::vector<model::HookId>& visited() const { return visited_; }
  const std::vector<int>& layers_done() const { return layers_done_; }
  // How many times the pass came to a step.
  int steps() const { return steps_; }
  // The value after the visit; undefined where the sequence was not shown.
  const at::Tensor& Seen(const std::string& name, int sequence = 0) const;
  // Its rows.
  model::RowRange RowsOf(const std::string& name, int sequence = 0) const;
  const std::map<model::HookId, std::vector<at::Tensor>>& seen() const { return seen_; }
  // The very tensors that were shown, beside their copies.
  const std::vector<std::pair<at::Tensor, at::Tensor>>& shown() const { return shown_; }

 private:
  struct WriteRule {
    Write write;
    std::set<int> sequences;
  };

  const model::Catalogue& catalogue_;
  // Hook point to the sequences that want it; all of them where the set is empty.
  std::map<model::HookId, std::set<int>> wanted_;
  std::map<model::HookId, std::vector<WriteRule>> writes_;
  std::map<model::HookId, absl::Status> failures_;
  std::map<int, absl::Status> layer_failures_;
  std::map<int, absl::Status> step_failures_;
  struct NeedRule {
    int sequence;
    model::HookId hook;
    model::RowRange rows;
  };
  std::vector<NeedRule> needs_;
  int steps_ = 0;
  std::vector<model::HookId> visited_;
  std::vector<int> layers_done_;
  std::map<model::HookId, std::vector<at::Tensor>> seen_;
  std::map<model::HookId, std::vector<model::RowRange>> rows_;
  std::vector<std::pair<at::Tensor, at::Tensor>> shown_;
};

using Sequences = std::vector<std::vector<int64_t>>;

// Sequences longer than the window, shorter, and of one token.
inline const Sequences& ThreeSequences() {
  static const auto* sequences = new Sequences{{5, 17, 3, 40, 8}, {2, 30, 30, 1, 12, 6, 9}, {7}};
  return *sequences;
}

// A whole pass. Returns the logits of all positions.
absl::StatusOr<std::vector<at::Tensor>> TryPass(const model::TextModel& model,
                                                const Sequences& sequences,
                                                model::Numerics numerics, model::Tap& tap);
// The same where it must not fail.
std::vector<at::Tensor> Pass(const model::TextModel& model, const Sequences& sequences,
                             model::Numerics numerics, model::Tap& tap);
// Without a tap.
std::vector<at::Tensor> Pass(const model::TextModel& model, const Sequences& sequences,
                             model::Numerics numerics);

// The logits of `rows`, put together from the blocks in which they come; undefined where a
// sequence has no rows. Internal error where the blocks are out of order.
absl::StatusOr<std::vector<at::Tensor>> FinishAll(const model::TextModel& model,
                                                  model::PassState& state, const Sequences& rows,
                                                  model::Tap& tap);

// All positions of all sequences.
std::vector<std::vector<int64_t>> AllRows(const Sequences& sequences);

}  // namespace hookwire::testing

#endif  // HOOKWIRE_TESTS_UNIT_MODEL_RECORDING_TAP_H_
