// What a run emits: the right elements, in the right dtype, once, in tensors of their own.
#include <ATen/ops/equal.h>
#include <ATen/ops/log_softmax.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "c10/core/InferenceMode.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/execute/recording_output.h"

namespace hookwire::server {
namespace {

using hookwire::testing::Finished;
using hookwire::testing::RunToEnd;
using hookwire::testing::Spec;
using hookwire::testing::TinyModel;
using hookwire::testing::TinyVariant;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Copies everything that a pass shows.
class CopyingTap final : public model::Tap {
 public:
  bool Wants(model::HookId) const override { return true; }
  bool Wants(model::HookId, int) const override { return true; }
  absl::Status Visit(model::HookId hook, absl::Span<const model::RowRange> /*rows*/,
                     absl::Span<at::Tensor> values) override {
    for (size_t s = 0; s < values.size(); ++s) {
      seen[{hook, static_cast<int>(s)}] = values[s].clone();
    }
    return absl::OkStatus();
  }
  absl::Status LayerDone(int) override { return absl::OkStatus(); }

  std::map<std::pair<model::HookId, int>, at::Tensor> seen;
};

TEST(Execute, EmitsWhatThePassShows) {
  for (const TinyVariant variant :
       {TinyVariant::kEType, TinyVariant::kDense, TinyVariant::kMoe, TinyVariant::kUnified}) {
    const model::TextModel& model = TinyModel(variant);
    const Finished run =
        RunToEnd(Spec("captures { hook: '**' }"), model, {.numerics = model::Numerics::kReference});
    CopyingTap tap;
    {
      const c10::InferenceMode inference;
      auto state = model.Begin(run.plan->sequences, model::Numerics::kReference, tap);
      ASSERT_TRUE(state.ok()) << state.status();
      ASSERT_TRUE(model.RunLayers(*state, model.config().n_layers(), tap).ok());
      const auto drop = [](int, int64_t, const at::Tensor&) { return absl::OkStatus(); };
      ASSERT_TRUE(model.Finish(*state, {{}, {}}, tap, drop).ok());
    }
    ASSERT_EQ(run.output.tensors.size(), tap.seen.size());
    for (const CapturePlan& capture : run.plan->captures) {
      const model::HookPoint& point = model.catalogue().point(capture.hook);
      for (const TensorPlan& tensor : capture.tensors) {
        const at::Tensor& seen = tap.seen.at({capture.hook, tensor.slice.sequence});
        EXPECT_TRUE(at::equal(run[tensor.index], seen.to(capture.dtype))) << point.name;
      }
    }
    EXPECT_THAT(run.report.non_finite, IsEmpty());
  }
}

TEST(Execute, EmitsInTheOrderOfThePlan) {
  const Finished run = RunToEnd(Spec("captures { hook: '**' } outputs { logits {} log_probs {} }"));
  for (uint32_t i = 0; i < run.plan->n_tensors; ++i) EXPECT_EQ(run.output.order.at(i), i);
  EXPECT_EQ(run.report.tensors, run.plan->n_tensors);
  EXPECT_EQ(run.report.bytes, run.plan->total_bytes);
  EXPECT_THAT(run.output.progress, ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(Execute, EmitsTensorsThatOwnExactlyTheirBytes) {
  const Finished run = RunToEnd(Spec(R"pb(
    captures { hook: "**" }
    captures {
      hook: "**.hook_out"
      positions { indices { values: [ 0, 2 ] } }
    }
    interventions {
      hook: "blocks.*.hook_out"
      scale { factor { scalar: 1.5 } }
    }
    outputs {
      logits {}
      log_probs {}
    }
  )pb"));
  uint64_t bytes = 0;
  for (const auto& [index, tensor] : run.output.tensors) {
    EXPECT_TRUE(tensor.is_contiguous());
    EXPECT_TRUE(tensor.is_cpu());
    EXPECT_EQ(tensor.storage().nbytes(), tensor.nbytes());
    EXPECT_EQ(tensor.storage_offset(), 0);
    bytes += tensor.nbytes();
    // Nobody has written to them since.
    EXPECT_EQ(0, memcmp(tensor.const_data_ptr(), run.output.copies.at(index).const_data_ptr(),
                        tensor.nbytes()));
  }
  EXPECT_EQ(bytes, run.plan->total_bytes);
}

TEST(Execute, EmitsTheSelectedSlice) {
  const Finished run = RunToEnd(Spec(R"pb(
    captures { hook: "blocks.1.attn.hook_z" }
    captures {
      hook: "blocks.1.attn.hook_z"
      positions { indices { values: [ -1, 0 ] } }
      heads { range { start: 1 step: 2 } }
      features { range { start: -3 } }
    }
  )pb"));
  for (int s = 0; s < 2; ++s) {
    const at::Tensor& whole = run.Captured(0, s);  // [pos, head, d_head]
    const at::Tensor& part = run.Captured(1, s);   // [2, 2, 3]
    const int64_t last = whole.size(0) - 1;
    for (int64_t head = 0; head < 2; ++head) {
      EXPECT_TRUE(at::equal(part[0][head], whole[last][2 * head + 1].slice(0, 13)));
      EXPECT_TRUE(at::equal(part[1][head], whole[0][2 * head + 1].slice(0, 13)));
    }
  }
}

TEST(Execute, ConvertsToTheDtypeOfTheWire) {
  const Finished run = RunToEnd(Spec(R"pb(
    captures { hook: "hook_embed" }
    captures { hook: "hook_embed" dtype: DTYPE_BFLOAT16 }
    captures { hook: "hook_embed" dtype: DTYPE_FLOAT16 }
    captures {
      hook: "hook_embed"
      dtype: DTYPE_FLOAT64
      positions { indices { values: 1 } }
    }
  )pb"));
  const at::Tensor& own = run.Captured(0, 0);
  EXPECT_TRUE(at::equal(run.Captured(1, 0), own.to(at::kBFloat16)));
  EXPECT_TRUE(at::equal(run.Captured(2, 0), own.to(at::kHalf)));
  EXPECT_TRUE(at::equal(run.Captured(3, 0), own.slice(0, 1, 2).to(at::kDouble)));
}

TEST(Execute, RoundsWhatIsComputedInAWiderDtype) {
  const auto& model = TinyModel(TinyVariant::kEType, "bfloat16");
  const Finished run = RunToEnd(Spec("captures { hook: '**.hook_scale' }"), model);
  for (const auto& [index, tensor] : run.output.tensors) {
    EXPECT_EQ(tensor.scalar_type(), at::kBFloat16);
  }
}

TEST(Execute, ComputesOnlyTheLogitsThatAreWanted) {
  for (const auto numerics : {model::Numerics::kFast, model::Numerics::kReference}) {
    const Finished whole =
        RunToEnd(Spec("outputs { logits {} }"), TinyModel(), {.numerics = numerics});
    const Finished run = RunToEnd(Spec(R"pb(
                                    outputs {
                                      logits { positions { indices { values: [ -1, 0 ] } } }
                                      log_probs {
                                        targets {
                                          positions: [ 1, 1, 0 ]
                                          token_ids: [ 5, 6, 5 ]
                                        }
                                        targets { positions: -1 token_ids: 47 }
                                      }
                                    }
                                  )pb"),
                                  TinyModel(), {.numerics = numerics});
    const at::Tensor& logits = whole[0];  // [5, 48]
    const auto near = [&](const at::Tensor& a, const at::Tensor& b) {
      return numerics == model::Numerics::kReference ? at::equal(a, b) : a.allclose(b, 1e-4, 1e-4);
    };
    EXPECT_TRUE(near(run[0][0], logits[4]));
    EXPECT_TRUE(near(run[0][1], logits[0]));
    EXPECT_TRUE(near(run[1][0], whole[1][2]));
    const at::Tensor expected = at::log_softmax(logits, -1);
    EXPECT_TRUE(near(run[2][0], expected[1][5]));
    EXPECT_TRUE(near(run[2][1], expected[1][6]));
    EXPECT_TRUE(near(run[2][2], expected[0][5]));
    EXPECT_TRUE(near(run[3][0], at::log_softmax(whole[1], -1)[2][47]));
  }
}

TEST(Execute, ScoresTheNextTokens) {
  const Finished run = RunToEnd(
      Spec("sequences { token_ids: [3, 4, 5] } sequences { token_ids: 9 } outputs { logits {} "
           "log_probs {} }"));
  const at::Tensor expected = at::log_softmax(run[0], -1);
  EXPECT_EQ(run[2][0].item<float>(), expected[0][4].item<float>());
  EXPECT_EQ(run[2][1].item<float>(), expected[1][5].item<float>());
  EXPECT_EQ(run[3].numel(), 0);
  EXPECT_EQ(run.report.tensors, 4u);
}

TEST(Execute, ReturnsTheResidualWhereThePassEnds) {
  for (int stop = 0; stop < 6; ++stop) {
    const std::string k = std::to_string(stop);
    const Finished run = RunToEnd(Spec("stop_at_layer: " + k + " outputs { residual: true }"));
    const Finished whole = RunToEnd(Spec("captures { hook: 'blocks." + k + ".hook_in' }"));
    EXPECT_TRUE(at::equal(run[0], whole[0]));
    EXPECT_TRUE(at::equal(run[1], whole[1]));
    EXPECT_EQ(static_cast<int>(run.output.progress.size()), stop);
  }
}

TEST(Execute, ReportsARunThatReturnsNothing) {
  const Finished run = RunToEnd(Spec(""));
  EXPECT_EQ(run.report.tensors, 0u);
  EXPECT_THAT(run.output.order, IsEmpty());
}

}  // namespace
}  // namespace hookwire::server
