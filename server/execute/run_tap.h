// What one run does at the hook points of its pass: captures, interventions, captures.
#ifndef HOOKWIRE_SERVER_EXECUTE_RUN_TAP_H_
#define HOOKWIRE_SERVER_EXECUTE_RUN_TAP_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/adapter/catalogue.h"
#include "model/tap/tap.h"
#include "server/execute/emitter.h"
#include "server/plan/run_plan.h"
#include "server/plan/sequence_groups.h"

namespace hookwire::server {

// For one pass of one plan, on the thread that runs it. It does the captures and interventions of
// the group's sequences.
class RunTap final : public model::Tap {
 public:
  // All must outlive the tap.
  RunTap(const RunPlan& plan, const SequenceGroup& group, const model::Catalogue& catalogue,
         Emitter& emitter);

  bool Wants(model::HookId hook) const override {
    return work_of_[static_cast<size_t>(hook)] != kNoWork;
  }
  bool Wants(model::HookId hook, int sequence) const override {
    const int32_t work = work_of_[static_cast<size_t>(hook)];
    return work != kNoWork &&
           work_[static_cast<size_t>(work)].wanted[static_cast<size_t>(sequence)];
  }

  // Emits the captures before the interventions, applies the interventions in the order of the
  // request, and emits the captures after them. Masked attention scores cannot be changed: they are
  // set to −inf again after each intervention.
  absl::Status Visit(model::HookId hook, absl::Span<const model::RowRange> rows,
                     absl::Span<at::Tensor> values) override;

  // What captures and interventions select, and the rows that the plan's outputs are made of.
  bool ForEachRead(RowRead read) const override;

  absl::Status BetweenSteps() override { return emitter_.CheckWanted(); }

  // With several passes, progress is their mean.
  absl::Status LayerDone(int layer) override {
    return emitter_.Progress((group_.number * plan_.n_layers_run + layer + 1) / group_.count);
  }

  // Internal error if the pass did not reach an intervention.
  absl::Status CheckComplete() const;

 private:
  static constexpr int32_t kNoWork = -1;

  // Everything that is to be done at one hook point.
  struct Work {
    std::vector<const CapturePlan*> captures;
    std::vector<const OpPlan*> ops;
    // By sequence of the pass: read, changed or copied from.
    std::vector<bool> wanted;
    bool visited = false;
  };

  // Work that owns the captures and interventions that it points at.
  struct WorkOnRest {
    std::vector<CapturePlan> captures;
    std::vector<OpPlan> ops;
    Work work;
  };

  Work& WorkAt(model::HookId hook);
  int64_t Length(int sequence) const;
  void ForEachReadAt(const model::HookPoint& point, const Work& work, RowRead read) const;
  void ForEachReadOfOutputs(RowRead read) const;
  // Internal error if a value does not have the axes that the catalogue gives and these rows.
  absl::Status CheckValues(const model::HookPoint& point, const Work& work,
                           absl::Span<const model::RowRange> rows,
                           absl::Span<const at::Tensor> values) const;
  // Internal error if a row is to be read that is not among these.
  absl::Status CheckLeft(const model::HookPoint& point, const Work& work,
                         absl::Span<const model::RowRange> rows) const;
  // The same work on sequences of which only these rows are left.
  WorkOnRest OnRest(const model::HookPoint& point, const Work& work,
                    absl::Span<const model::RowRange> rows) const;
  // `masks` are the masked elements of the values before any change; empty where nothing is masked.
  absl::Status EmitCaptures(const model::HookPoint& point, const Work& work, bool before,
                            absl::Span<const at::Tensor> values,
                            const std::vector<at::Tensor>& masks);
  // Emits the tensors of one capture, several together where they follow each other in the plan and
  // in memory.
  absl::Status EmitJoined(const model::HookPoint& point, const CapturePlan& capture,
                          absl::Span<const at::Tensor> values);
  absl::Status Apply(const model::HookPoint& point, const Work& work,
                     const std::vector<at::Tensor>& masks, absl::Span<at::Tensor> values);
  // Shows a callback's selection to the client, and returns the answers: one for each target,
  // undefined if it does not change.
  absl::StatusOr<std::vector<at::Tensor>> Ask(const model::HookPoint& point, const OpPlan& op,
                                              const std::vector<at::Tensor>& masks,
                                              absl::Span<const at::Tensor> values);

  const RunPlan& plan_;
  const SequenceGroup& group_;
  const model::Catalogue& catalogue_;
  Emitter& emitter_;
  // By hook point: its index in work_.
  std::vector<int32_t> work_of_;
  std::vector<Work> work_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_RUN_TAP_H_
