// Runs that share a pass.
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/execute/recording_output.h"
#include "tests/unit/support/watched_allocator.h"

namespace hookwire::server {
namespace {

using hookwire::testing::MakeTinyModel;
using hookwire::testing::MustPlan;
using hookwire::testing::RecordingOutput;
using hookwire::testing::Spec;
using hookwire::testing::TinyModel;
using hookwire::testing::TinyOptions;
using hookwire::testing::TinyVariant;
using hookwire::testing::Tokens;
using hookwire::testing::WatchedAllocator;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Writes down what happens, and when.
class Recorder final : public BatchContext {
 public:
  void Done(size_t run, absl::StatusOr<ExecutionReport> report) override {
    EXPECT_EQ(reports.count(run), 0u) << "run " << run << " ended twice";
    reports.emplace(run, std::move(report));
    events.push_back("run " + std::to_string(run));
  }
  void BetweenLayers() override { events.emplace_back("layer"); }
  void BetweenSteps() override {
    ++steps;
    on_step(steps);
  }
  absl::Status CheckTime(size_t run) override { return on_check(run); }
  void Begin(absl::Span<const size_t> runs) override {
    begun.emplace_back(runs.begin(), runs.end());
  }

  std::map<size_t, absl::StatusOr<ExecutionReport>> reports;
  std::vector<std::string> events;
  // The runs of each execution.
  std::vector<std::vector<size_t>> begun;
  int steps = 0;
  std::function<void(int)> on_step = [](int) {};
  std::function<absl::Status(size_t)> on_check = [](size_t) { return absl::OkStatus(); };
};

struct BatchOf {
  explicit BatchOf(const std::vector<std::string>& specs,
                   const model::TextModel& model_in = TinyModel(),
                   Executor::Options options_in = {})
      : model(model_in), options(options_in), outputs(specs.size()) {
    for (const std::string& spec : specs) plans.push_back(MustPlan(Spec(spec), model));
  }

  void Execute() {
    std::vector<BatchedRun> runs;
    for (size_t i = 0; i < plans.size(); ++i) runs.push_back({plans[i].get(), &outputs[i]});
    Executor(model, options).Execute(runs, recorder);
  }
  absl::Status StatusOf(size_t run) const { return recorder.reports.at(run).status(); }

  const model::TextModel& model;
  const Executor::Options options;
  std::vector<std::shared_ptr<const RunPlan>> plans;
  std::vector<RecordingOutput> outputs;
  Recorder recorder;
};

// Runs of many kinds.
std::vector<std::string> Specs() {
  return {
      Tokens(5) + Tokens(9, 2) + "outputs { logits {} } captures { hook: '**' }",
      Tokens(7, 3) + "captures { hook: 'blocks.1.hook_resid_post' }",
      Tokens(9, 4) +
          "stop_at_layer: 2 outputs { residual: true } captures { hook: 'blocks.*.attn.q.*' }",
      Tokens(1, 5) + "outputs { logits { positions { indices { values: -1 } } } log_probs {} }",
      Tokens(9, 6) + Tokens(9, 7) +
          "outputs { logits { positions { indices { values: -1 } } } }"
          "interventions { hook: 'blocks.2.hook_resid_pre' sequences: 0 copy { from_sequence: 1 } }"
          "interventions { hook: 'blocks.0.attn.hook_pattern' scale { factor { scalar: 0.7 } } }",
      Tokens(4, 8) + "stop_at_layer: 0 outputs { residual: true }",
  };
}

void ExpectSame(const BatchOf& batch, const Executor::Options& options, bool bits) {
  for (size_t run = 0; run < batch.plans.size(); ++run) {
    ASSERT_TRUE(batch.StatusOf(run).ok()) << run << ": " << batch.StatusOf(run);
    RecordingOutput alone;
    const auto report = Executor(batch.model, options).Execute(*batch.plans[run], alone);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(batch.recorder.reports.at(run)->tensors, report->tensors);
    EXPECT_EQ(batch.recorder.reports.at(run)->bytes, report->bytes);
    ASSERT_EQ(batch.outputs[run].tensors.size(), alone.tensors.size());
    for (const auto& [index, tensor] : alone.tensors) {
      const at::Tensor& got = batch.outputs[run].tensors.at(index);
      if (bits) {
        EXPECT_TRUE(at::equal(got, tensor)) << "run " << run << ", tensor " << index;
      } else {
        EXPECT_TRUE(at::allclose(got, tensor, 1e-3, 1e-4, /*equal_nan=*/true))
            << "run " << run << ", tensor " << index;
      }
    }
  }
}

class EveryVariant : public ::testing::TestWithParam<TinyVariant> {};
INSTANTIATE_TEST_SUITE_P(Batch, EveryVariant,
                         ::testing::Values(TinyVariant::kEType, TinyVariant::kDense,
                                           TinyVariant::kMoe, TinyVariant::kUnified));

TEST_P(EveryVariant, GivesInReferenceTheBitsThatEachRunGivesAlone) {
  const Executor::Options options{.numerics = model::Numerics::kReference};
  BatchOf batch(Specs(), TinyModel(GetParam()), options);
  batch.Execute();
  ExpectSame(batch, options, /*bits=*/true);
}

TEST_P(EveryVariant, GivesInInvariantTheBitsThatEachRunGivesAlone) {
  for (const char* dtype : {"float32", "bfloat16"}) {
    TinyOptions tiny;
    tiny.variant = GetParam();
    tiny.dtype = dtype;
    if (GetParam() != TinyVariant::kEType) tiny.layers = "sfsf";
    const auto model =
        MakeTinyModel(tiny, {.dtype = {}, .devices = {model::DeviceRoom{}}, .invariant = true});
    const Executor::Options options{.numerics = model::Numerics::kInvariant};
    std::vector<std::string> specs = Specs();
    // More rows than the largest tile, and a count that none divides.
    for (int i = 0; i < 9; ++i) specs.push_back(Tokens(37) + "outputs { logits {} }");
    BatchOf batch(specs, *model, options);
    batch.Execute();
    ExpectSame(batch, options, /*bits=*/true);
  }
}

TEST_P(EveryVariant, GivesInFastWhatEachRunGivesAlone) {
  BatchOf batch(Specs(), TinyModel(GetParam()));
  batch.Execute();
  ExpectSame(batch, {}, /*bits=*/false);
}

TEST(Batch, ARunLeavesAsSoonAsItsLastHookHasFired) {
  BatchOf batch({Tokens(3) + "outputs { logits {} }",
                 Tokens(4) + "captures { hook: 'blocks.1.hook_out' }",
                 Tokens(5) + "captures { hook: 'hook_embed' }",
                 Tokens(6) + "captures { hook: 'blocks.3.hook_in' }"});
  batch.Execute();
  EXPECT_THAT(batch.recorder.events, ElementsAre("run 2", "layer", "run 1", "layer", "layer",
                                                 "run 3", "layer", "layer", "run 0"));
}

TEST(Batch, LayersAndLogitsHaveStepsForThoseWhoShareTheDevice) {
  BatchOf first({Tokens(4) + "stop_at_layer: 0 outputs { residual: true }"});
  first.Execute();
  BatchOf layer({Tokens(4) + "stop_at_layer: 1 outputs { residual: true }"});
  layer.Execute();
  EXPECT_GE(layer.recorder.steps - first.recorder.steps, 10) << "several before each product";
  BatchOf all({Tokens(4) + "stop_at_layer: 6 outputs { residual: true }"});
  all.Execute();
  BatchOf logits({Tokens(4) + "outputs { logits {} }"});
  logits.Execute();
  EXPECT_GT(logits.recorder.steps, all.recorder.steps);
}

TEST(Batch, WhoFailsLeavesAndTheOthersGoOn) {
  BatchOf batch({Tokens(3) + "captures { hook: '**' } outputs { logits {} }",
                 Tokens(4) + "captures { hook: '**' } outputs { logits {} }",
                 Tokens(5) + "captures { hook: '**' } outputs { logits {} }",
                 Tokens(5) + "outputs { logits {} }"});
  batch.outputs[0].on_emit = [](uint32_t index) {
    return index == 9 ? absl::CancelledError("gone") : absl::OkStatus();
  };
  batch.outputs[1].on_emit = [](uint32_t index) -> absl::Status {
    if (index == 20) throw std::runtime_error("something broke");
    return absl::OkStatus();
  };
  const uint32_t last = batch.plans[3]->n_tensors - 1;
  batch.outputs[3].on_emit = [last](uint32_t index) {
    return index == last ? absl::CancelledError("gone at the end") : absl::OkStatus();
  };
  batch.Execute();
  EXPECT_EQ(batch.StatusOf(0), absl::CancelledError("gone"));
  EXPECT_THAT(std::string(batch.StatusOf(1).message()), HasSubstr("something broke"));
  EXPECT_EQ(batch.StatusOf(3), absl::CancelledError("gone at the end"));
  EXPECT_TRUE(batch.StatusOf(2).ok());
  EXPECT_EQ(batch.outputs[2].tensors.size(), batch.plans[2]->n_tensors);
  EXPECT_EQ(batch.outputs[0].order.size(), 10u) << "nothing more is given to a output that refused";
  const auto& events = batch.recorder.events;
  EXPECT_LE(std::find(events.begin(), events.end(), "run 0") - events.begin(), 1)
      << "after the layer, not at the end";
}

TEST(Batch, EndsEarlyWhereAllHaveFailed) {
  BatchOf batch({Tokens(3) + "captures { hook: 'blocks.0.hook_in' } outputs { logits {} }",
                 Tokens(4) + "captures { hook: 'blocks.1.hook_in' } outputs { logits {} }"});
  for (RecordingOutput& output : batch.outputs) {
    output.on_emit = [](uint32_t) { return absl::CancelledError("gone"); };
  }
  batch.Execute();
  EXPECT_THAT(batch.recorder.events, ElementsAre("run 0", "layer", "run 1"));
}

// At every step of the pass: before the first layer, within layers, between blocks of logits.
TEST(Batch, ARunThatNobodyWaitsForEndsBeforeTheNextStep) {
  const std::string spec = Tokens(4) + "outputs { logits {} log_probs {} }";
  BatchOf whole({spec});
  whole.Execute();
  ASSERT_GT(whole.recorder.steps, 50);
  for (int last = 1; last <= whole.recorder.steps; ++last) {
    BatchOf batch({spec});
    bool gone = false;
    batch.recorder.on_step = [&gone, last](int step) { gone = step == last; };
    batch.outputs[0].on_status = [&gone] {
      return gone ? absl::CancelledError("gone") : absl::OkStatus();
    };
    batch.Execute();
    EXPECT_EQ(batch.StatusOf(0), absl::CancelledError("gone")) << last;
    EXPECT_EQ(batch.recorder.steps, last) << "no step after it";
  }
}

TEST(Batch, ARunWhoseTimeIsOverEndsBeforeTheNextStep) {
  BatchOf batch({Tokens(4) + "outputs { logits {} }"});
  batch.recorder.on_check = [&](size_t) {
    return batch.recorder.steps == 30 ? absl::DeadlineExceededError("late") : absl::OkStatus();
  };
  batch.Execute();
  EXPECT_EQ(batch.StatusOf(0), absl::DeadlineExceededError("late"));
  EXPECT_EQ(batch.recorder.steps, 30);
}

TEST(Batch, ARunThatNobodyWaitsForLeavesItsBatchAndTheLastOneEndsIt) {
  const std::string spec = Tokens(4) + "outputs { logits {} }";
  BatchOf batch({spec, spec, spec});
  const auto gone_from = [&batch](size_t run, int step) {
    batch.outputs[run].on_status = [&batch, step] {
      return batch.recorder.steps >= step ? absl::CancelledError("gone") : absl::OkStatus();
    };
  };
  gone_from(0, 20);
  gone_from(2, 90);
  batch.Execute();
  EXPECT_TRUE(absl::IsCancelled(batch.StatusOf(0)));
  EXPECT_TRUE(absl::IsCancelled(batch.StatusOf(2)));
  EXPECT_TRUE(batch.StatusOf(1).ok()) << batch.StatusOf(1);

  BatchOf all({spec, spec, spec});
  for (size_t run = 0; run < 3; ++run) {
    all.outputs[run].on_status = [&all, run] {
      return all.recorder.steps >= 20 + 10 * static_cast<int>(run) ? absl::CancelledError("gone")
                                                                   : absl::OkStatus();
    };
  }
  all.Execute();
  EXPECT_EQ(all.recorder.steps, 40) << "the last one went then";
}

TEST(Batch, ARunThatNobodyWaitsForStartsNoFurtherPass) {
  BatchOf batch({Tokens(4) + Tokens(5, 2) + Tokens(6, 3) + "outputs { logits {} }"}, TinyModel(),
                {.max_batch_tokens = 4});
  bool gone = false;
  batch.outputs[0].on_emit = [&gone](uint32_t) {
    gone = true;
    return absl::OkStatus();
  };
  batch.outputs[0].on_status = [&gone] {
    return gone ? absl::CancelledError("gone") : absl::OkStatus();
  };
  batch.Execute();
  EXPECT_EQ(batch.StatusOf(0), absl::CancelledError("gone"));
  EXPECT_EQ(batch.outputs[0].order.size(), 1u);
}

TEST(Batch, OutOfMemoryEndsTheLargestRunAndRunsTheOthersAgain) {
  BatchOf batch({Tokens(4) + "captures { hook: '**.hook_out' } outputs { logits {} }",
                 Tokens(40) + "captures { hook: '**.hook_out' } outputs { logits {} }",
                 Tokens(6) + "captures { hook: '**.hook_out' } outputs { logits {} }"});
  {
    WatchedAllocator allocator;
    // [40, d_mlp] is more than there is.
    allocator.before_allocation = [](size_t bytes) {
      if (bytes >= size_t{40} * 48 * 4) throw std::bad_alloc();
    };
    batch.Execute();
  }
  EXPECT_EQ(DetailsOf(batch.StatusOf(1)).reason, v1::ERROR_REASON_OUT_OF_MEMORY);
  EXPECT_THAT(batch.recorder.begun, ElementsAre(ElementsAre(0, 1, 2), ElementsAre(0, 2)));
  for (const size_t run : {0u, 2u}) {
    EXPECT_TRUE(batch.StatusOf(run).ok()) << batch.StatusOf(run);
    EXPECT_EQ(batch.outputs[run].order.size(), batch.plans[run]->n_tensors) << "each tensor once";
  }
}

// Whoever asks for the last of it: at a hook point, for logits, or where a run ends.
TEST(Batch, MemoryThatRunsOutInASmallRunsOwnWorkEndsTheLargest) {
  for (const uint32_t at : {0u, 2u, 4u}) {
    BatchOf batch({Tokens(4) + "captures { hook: 'hook_embed' } captures { hook: "
                               "'blocks.1.hook_out' } captures { hook: 'blocks.2.hook_out' } "
                               "captures { hook: 'blocks.3.hook_out' } outputs { logits {} }",
                   Tokens(40) + "captures { hook: 'blocks.5.hook_out' } outputs { logits {} }"});
    bool thrown = false;
    batch.outputs[0].on_emit = [&thrown, at](uint32_t index) -> absl::Status {
      if (index == at && !std::exchange(thrown, true)) throw std::bad_alloc();
      return absl::OkStatus();
    };
    batch.Execute();
    EXPECT_TRUE(thrown);
    EXPECT_TRUE(batch.StatusOf(0).ok()) << batch.StatusOf(0);
    EXPECT_EQ(DetailsOf(batch.StatusOf(1)).reason, v1::ERROR_REASON_OUT_OF_MEMORY);
    EXPECT_EQ(batch.recorder.reports.at(0)->bytes, batch.plans[0]->total_bytes);
  }
}

TEST(Batch, WhatBreaksThePassOfOneRunDoesNotBreakTheOthers) {
  BatchOf batch({Tokens(4) + "captures { hook: '**.hook_out' } outputs { logits {} }",
                 Tokens(6) + "captures { hook: '**.hook_out' } outputs { logits {} }"});
  {
    WatchedAllocator allocator;
    // In an MLP, [4 + 6, d_mlp].
    allocator.before_allocation = [](size_t bytes) {
      if (bytes == size_t{10} * 48 * 4) throw std::runtime_error("together only");
    };
    batch.Execute();
  }
  EXPECT_THAT(batch.recorder.begun, ElementsAre(ElementsAre(0, 1), ElementsAre(0), ElementsAre(1)));
  ExpectSame(batch, {}, /*bits=*/false);
  for (const size_t run : {0u, 1u}) {
    EXPECT_EQ(batch.outputs[run].order.size(), batch.plans[run]->n_tensors) << "each tensor once";
  }
}

}  // namespace
}  // namespace hookwire::server
