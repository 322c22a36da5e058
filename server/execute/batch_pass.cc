#include "server/execute/batch_pass.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "server/errors/status_macros.h"
#include "server/execute/batch_tap.h"
#include "server/execute/outputs.h"
#include "server/execute/run_ahead.h"
#include "server/execute/run_tap.h"
#include "server/plan/describe.h"

namespace hookwire::server {
namespace {

// A member that is still in the pass.
struct Active {
  const PassMember* member = nullptr;
  std::unique_ptr<RunTap> tap;
  // Null where the run ends before the logits.
  std::unique_ptr<LogitsOutputs> outputs;
  absl::Status status;

  int n_sequences() const { return static_cast<int>(member->group->sequences.size()); }
  // Whether nothing is left to do for the run once `layers` layers have run.
  bool EndsAfter(int layers) const {
    return !status.ok() || (!member->plan->finish && member->plan->n_layers_run <= layers);
  }
};

class BatchPass {
 public:
  BatchPass(const model::TextModel& model, absl::Span<const PassMember> members,
            BatchContext& context, absl::FunctionRef<void(size_t run, absl::Status status)> left)
      : model_(model), context_(context), left_(left) {
    for (const PassMember& member : members) {
      Active run;
      run.member = &member;
      run.tap =
          std::make_unique<RunTap>(*member.plan, *member.group, model.catalogue(), *member.emitter);
      if (member.plan->finish) {
        run.outputs = std::make_unique<LogitsOutputs>(*member.plan, *member.group, *member.emitter);
      }
      active_.push_back(std::move(run));
    }
  }

  absl::Status Run(model::Numerics numerics) {
    const absl::Status status = RunMembers(numerics);
    if (status.ok()) return status;
    // These failed before the pass did, with errors of their own.
    for (Active& run : active_) {
      if (!run.status.ok()) Leave(run);
    }
    return status;
  }

 private:
  absl::Status RunMembers(model::Numerics numerics) {
    HOOKWIRE_RETURN_IF_ERROR(Step([&](BatchTap& tap) -> absl::Status {
      HOOKWIRE_ASSIGN_OR_RETURN(state_, model_.Begin(Sequences(), numerics, tap));
      return absl::OkStatus();
    }));
    while (true) {
      HOOKWIRE_RETURN_IF_ERROR(LetGo());
      if (active_.empty()) return absl::OkStatus();
      if (state_.next_layer == model_.config().n_layers()) break;
      if (state_.next_layer > 0) context_.BetweenLayers();
      HOOKWIRE_RETURN_IF_ERROR(Step(
          [&](BatchTap& tap) { return model_.RunLayers(state_, state_.next_layer + 1, tap); }));
      if (!state_.hidden.empty()) ahead_.LayerAsked(state_.hidden.front().device());
    }
    HOOKWIRE_RETURN_IF_ERROR(Finish());
    for (Active& run : active_) Leave(run);
    return absl::OkStatus();
  }

  std::vector<std::vector<int64_t>> Sequences() const {
    std::vector<std::vector<int64_t>> sequences;
    for (const Active& run : active_) {
      for (const int s : run.member->group->sequences) {
        sequences.push_back(run.member->plan->sequences[static_cast<size_t>(s)]);
      }
    }
    return sequences;
  }

  // Runs a part of the pass, with the taps of the runs that are in it. Returns an error where the
  // pass itself fails; that every run of it has failed is no error of the pass.
  template <typename F>
  absl::Status Step(F&& step) {
    std::vector<BatchTap::Member> members;
    for (Active& run : active_) members.push_back({run.tap.get(), run.n_sequences(), &run.status});
    BatchTap tap(std::move(members), context_);
    const absl::Status status = step(tap);
    return tap.any_left() ? status : absl::OkStatus();
  }

  // Runs that need no further layer leave the pass, and their sequences with them.
  absl::Status LetGo() {
    const int layers = state_.next_layer;
    if (std::none_of(active_.begin(), active_.end(),
                     [layers](const Active& run) { return run.EndsAfter(layers); })) {
      return absl::OkStatus();
    }
    std::vector<int> staying;
    int first = 0;
    for (Active& run : active_) {
      const int n = run.n_sequences();
      if (run.EndsAfter(layers)) {
        HOOKWIRE_RETURN_IF_ERROR(EmitResidual(run, first));
      } else {
        for (int s = 0; s < n; ++s) staying.push_back(first + s);
      }
      first += n;
    }
    // Their memory is freed before they are told that they have left.
    std::vector<Active> gone;
    std::vector<Active> left;
    for (Active& run : active_) (run.EndsAfter(layers) ? gone : left).push_back(std::move(run));
    active_ = std::move(left);
    HOOKWIRE_RETURN_IF_ERROR(model::TextModel::Keep(state_, staying));
    for (Active& run : gone) Leave(run);
    return absl::OkStatus();
  }

  // Emits the residual stream at the end of the run's pass, if the run wants it; the run's first
  // sequence is number `first` of the pass.
  absl::Status EmitResidual(Active& run, int first) {
    const OutputPlan* const plan = FindOutput(*run.member->plan, v1::TensorGroup::SOURCE_RESIDUAL);
    if (!run.status.ok() || plan == nullptr) return absl::OkStatus();
    return DoOwn(run.status, [&] {
      const std::vector<at::Tensor> residual = model::TextModel::Residual(state_);
      for (int s = 0; s < run.n_sequences(); ++s) {
        const auto planned =
            static_cast<size_t>(run.member->group->sequences[static_cast<size_t>(s)]);
        HOOKWIRE_RETURN_IF_ERROR(
            run.member->emitter->Emit(plan->tensors[planned], plan->dtype, OutputName(plan->source),
                                      residual[static_cast<size_t>(first + s)]));
      }
      return absl::OkStatus();
    });
  }

  absl::Status Finish() {
    std::vector<std::vector<int64_t>> rows;
    // By sequence of the pass: its run, and its number there.
    std::vector<std::pair<size_t, int>> places;
    for (size_t r = 0; r < active_.size(); ++r) {
      for (int s = 0; s < active_[r].n_sequences(); ++s) {
        rows.push_back(active_[r].outputs->rows()[static_cast<size_t>(s)]);
        places.emplace_back(r, s);
      }
    }
    const auto finish = [&](BatchTap& tap) {
      return model_.Finish(
          state_, rows, tap, [&](int sequence, int64_t first, const at::Tensor& logits) {
            HOOKWIRE_RETURN_IF_ERROR(tap.BetweenSteps());
            const auto [r, s] = places[static_cast<size_t>(sequence)];
            Active& run = active_[r];
            if (run.status.ok()) {
              absl::Status memory =
                  DoOwn(run.status, [&, s = s] { return run.outputs->Take(s, first, logits); });
              if (!memory.ok()) return memory;
            }
            return tap.any_left() ? absl::OkStatus() : run.status;
          });
    };
    HOOKWIRE_RETURN_IF_ERROR(Step(finish));
    for (Active& run : active_) {
      if (run.status.ok()) {
        HOOKWIRE_RETURN_IF_ERROR(DoOwn(run.status, [&run] { return run.outputs->Finish(); }));
      }
    }
    return absl::OkStatus();
  }

  void Leave(Active& run) {
    if (run.status.ok()) run.status = run.tap->CheckComplete();
    left_(run.member->run, std::move(run.status));
  }

  const model::TextModel& model_;
  BatchContext& context_;
  const absl::FunctionRef<void(size_t run, absl::Status status)> left_;
  std::vector<Active> active_;
  model::PassState state_;
  RunAhead ahead_;
};

}  // namespace

absl::Status RunPass(const model::TextModel& model, model::Numerics numerics,
                     absl::Span<const PassMember> members, BatchContext& context,
                     absl::FunctionRef<void(size_t run, absl::Status status)> left) {
  return BatchPass(model, members, context, left).Run(numerics);
}

}  // namespace hookwire::server
