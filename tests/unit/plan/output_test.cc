// What a request returns besides its captures, and what the client is told of the plan.
#include <cstdint>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/support/run_specs.h"

namespace hookwire::server {
namespace {

using hookwire::testing::ExpectRefused;
using hookwire::testing::MustPlan;
using hookwire::testing::Spec;
using hookwire::testing::TinyModel;
using hookwire::testing::TinyVariant;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

v1::Plan Describe(const std::string& text) {
  const Planner planner(TinyModel(), {});
  v1::Plan description;
  planner.Describe(*MustPlan(Spec(text)), description);
  return description;
}

TEST(RunPlan, ReturnsLogitsOfThePickedPositions) {
  const auto plan = MustPlan(Spec("outputs { logits { positions { indices { values: -1 } } } }"));
  ASSERT_THAT(plan->outputs, SizeIs(1));
  EXPECT_EQ(plan->outputs[0].tensors[0].slice.picks[0].start, 4);
  EXPECT_EQ(plan->outputs[0].tensors[1].slice.picks[0].start, 2);
  EXPECT_THAT(plan->outputs[0].tensors[0].shape, ElementsAre(1, 48));
  EXPECT_EQ(plan->total_bytes, uint64_t{2} * 48 * 4);
  EXPECT_EQ(plan->n_layers_run, 6);
  EXPECT_TRUE(plan->finish);
}

TEST(RunPlan, ReturnsLogitsInTheComputeDtypeUnlessAsked) {
  const auto& model = TinyModel(TinyVariant::kMoe, "bfloat16");
  EXPECT_EQ(MustPlan(Spec("outputs { logits {} }"), model)->outputs[0].dtype, at::kBFloat16);
  EXPECT_EQ(MustPlan(Spec("outputs { logits { dtype: DTYPE_FLOAT32 } }"), model)->outputs[0].dtype,
            at::kFloat);
  ExpectRefused(Spec("outputs { logits { dtype: DTYPE_INT64 } }"),
                {v1::ERROR_REASON_VALUE_DTYPE, "spec.outputs.logits.dtype", "int64"});
}

TEST(RunPlan, RejectsLogitPositionsOutOfRange) {
  ExpectRefused(Spec("outputs { logits { positions { indices { values: 3 } } } }"),
                {v1::ERROR_REASON_POSITION_OUT_OF_RANGE, "spec.outputs.logits.positions",
                 "position 3 is out of range in sequence 1"});
}

TEST(RunPlan, RejectsLogitsBehindAStop) {
  ExpectRefused(Spec("stop_at_layer: 6 outputs { logits {} }"),
                {v1::ERROR_REASON_NEVER_FIRES, "spec.outputs.logits",
                 "logits never come: the pass ends before layer 6"});
  ExpectRefused(Spec("stop_at_layer: 1 outputs { log_probs {} }"),
                {v1::ERROR_REASON_NEVER_FIRES, "spec.outputs.log_probs", "log_probs never come"});
}

TEST(RunPlan, ScoresTheNextTokensWhereNoTargetsAreGiven) {
  const auto plan = MustPlan(Spec(
      "sequences { token_ids: [3, 4, 5] } sequences { token_ids: 9 } outputs { log_probs {} }"));
  const OutputPlan& output = plan->outputs[0];
  EXPECT_THAT(output.positions, ElementsAre(ElementsAre(0, 1), IsEmpty()));
  EXPECT_THAT(output.targets, ElementsAre(ElementsAre(4, 5), IsEmpty()));
  EXPECT_THAT(output.tensors[0].shape, ElementsAre(2));
  EXPECT_THAT(output.tensors[1].shape, ElementsAre(0));
  EXPECT_EQ(output.tensors[1].bytes, uint64_t{0});
  EXPECT_EQ(plan->n_tensors, 2u);
}

TEST(RunPlan, ScoresTheGivenTargets) {
  const auto plan = MustPlan(Spec(R"pb(
    outputs {
      log_probs {
        targets {
          positions: [ -1, -1, 0 ]
          token_ids: [ 7, 8, 7 ]
        }
        targets {}
      }
    }
  )pb"));
  EXPECT_THAT(plan->outputs[0].positions, ElementsAre(ElementsAre(4, 4, 0), IsEmpty()));
  EXPECT_THAT(plan->outputs[0].targets, ElementsAre(ElementsAre(7, 8, 7), IsEmpty()));
}

TEST(RunPlan, RejectsTargetsThatDoNotFitTheRun) {
  ExpectRefused(Spec("outputs { log_probs { targets {} } }"),
                {v1::ERROR_REASON_BAD_FIELD, "spec.outputs.log_probs.targets",
                 "targets for 1 sequences, and the run has 2"});
  ExpectRefused(
      Spec("outputs { log_probs { targets {} targets { positions: [0, 1] token_ids: 1 } } }"),
      {v1::ERROR_REASON_BAD_FIELD, "spec.outputs.log_probs.targets[1]",
       "have 2 positions and 1 token ids"});
  ExpectRefused(
      Spec("outputs { log_probs { targets {} targets { positions: 3 token_ids: 1 } } }"),
      {v1::ERROR_REASON_POSITION_OUT_OF_RANGE, "spec.outputs.log_probs.targets[1].positions[0]",
       "position 3 is out of range in sequence 1"});
  ExpectRefused(
      Spec("outputs { log_probs { targets {} targets { positions: 0 token_ids: 48 } } }"),
      {v1::ERROR_REASON_TOKEN_OUT_OF_RANGE, "spec.outputs.log_probs.targets[1].token_ids[0]",
       "target token id 48 of sequence 1 is out of range: the vocabulary goes from 0 to 47"});
}

TEST(RunPlan, ReturnsTheResidualWhereThePassEnds) {
  const auto plan = MustPlan(Spec("stop_at_layer: 3 outputs { residual: true }"));
  EXPECT_EQ(plan->n_layers_run, 3);
  EXPECT_FALSE(plan->finish);
  EXPECT_THAT(plan->outputs[0].tensors[1].shape, ElementsAre(3, 32));
}

TEST(RunPlan, RejectsAResidualWithoutAStop) {
  ExpectRefused(Spec("outputs { residual: true }"),
                {v1::ERROR_REASON_BAD_FIELD, "spec.outputs.residual", "needs stop_at_layer"});
}

// What the client is told.

TEST(PlanDescription, NamesGroupsInTheOrderOfThePass) {
  const v1::Plan plan = Describe(R"pb(
    captures {
      hook: "blocks.3.attn.hook_q"
      positions { range { stop: 2 } }
    }
    captures { hook: "hook_embed" }
    captures { hook: "blocks.0.router.hook_out" missing: MISSING_SKIP }
    interventions {
      hook: "blocks.2.hook_out"
      zero {}
    }
    interventions {
      hook: "hook_embed"
      zero {}
    }
    interventions {
      hook: "blocks.2.hook_out"
      scale { factor { scalar: 2 } }
    }
    outputs {
      logits {}
      log_probs {}
    }
  )pb");
  ASSERT_THAT(plan.groups(), SizeIs(4));
  const v1::TensorGroup& embed = plan.groups(0);
  EXPECT_EQ(embed.source(), v1::TensorGroup::SOURCE_CAPTURE);
  EXPECT_EQ(embed.hook(), "embed.hook_out");
  EXPECT_THAT(embed.names(), ElementsAre("hook_embed", "embed.hook_out"));
  EXPECT_THAT(embed.captures(), ElementsAre(1));
  EXPECT_EQ(embed.dtype(), v1::DTYPE_FLOAT32);
  ASSERT_THAT(embed.axes(), SizeIs(2));
  EXPECT_EQ(embed.axes(0).kind(), v1::Axis::KIND_POSITION);
  EXPECT_EQ(embed.axes(0).name(), "pos");
  EXPECT_EQ(embed.axes(0).size(), uint64_t{0}) << "the sequences differ in length";
  EXPECT_EQ(embed.axes(1).name(), "d_model");
  EXPECT_EQ(embed.axes(1).size(), uint64_t{32});
  ASSERT_THAT(embed.tensors(), SizeIs(2));
  EXPECT_EQ(embed.tensors(1).sequence(), 1u);
  EXPECT_THAT(embed.tensors(1).shape(), ElementsAre(3, 32));

  const v1::TensorGroup& queries = plan.groups(1);
  EXPECT_EQ(queries.axes(0).size(), uint64_t{2});
  EXPECT_EQ(queries.axes(1).kind(), v1::Axis::KIND_HEAD);
  EXPECT_EQ(plan.groups(2).source(), v1::TensorGroup::SOURCE_LOGITS);
  EXPECT_EQ(plan.groups(2).axes(1).name(), "d_vocab");
  EXPECT_EQ(plan.groups(3).source(), v1::TensorGroup::SOURCE_LOG_PROBS);
  EXPECT_THAT(plan.groups(3).axes(), SizeIs(1));

  EXPECT_THAT(plan.skipped(), ElementsAre("blocks.0.router.hook_out"));
  EXPECT_THAT(plan.intervened_hooks(), ElementsAre("embed.hook_out", "blocks.2.hook_out"));
  EXPECT_EQ(plan.total_tokens(), uint64_t{8});
  EXPECT_EQ(plan.n_layers_run(), 6u);
  const uint64_t bytes = uint64_t{4} * (8 * 32 + 2 * 2 * 4 * 16 + 8 * 48 + 4 + 2);
  EXPECT_EQ(plan.total_bytes(), bytes);
}

TEST(PlanDescription, TellsTheResidual) {
  const v1::Plan plan = Describe("stop_at_layer: 0 outputs { residual: true }");
  ASSERT_THAT(plan.groups(), SizeIs(1));
  EXPECT_EQ(plan.groups(0).source(), v1::TensorGroup::SOURCE_RESIDUAL);
  EXPECT_EQ(plan.groups(0).hook(), "");
  EXPECT_THAT(plan.groups(0).axes(), SizeIs(2));
  EXPECT_EQ(plan.n_layers_run(), 0u);
}

}  // namespace
}  // namespace hookwire::server
