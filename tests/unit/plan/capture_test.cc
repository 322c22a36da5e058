// What a request reads.
#include <cstdint>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/support/run_specs.h"

namespace hookwire::server {
namespace {

using hookwire::testing::ExpectRefused;
using hookwire::testing::MetadataOf;
using hookwire::testing::MustPlan;
using hookwire::testing::Spec;
using hookwire::testing::TinyModel;
using hookwire::testing::TinyVariant;
using hookwire::testing::TryPlan;
using ::testing::ElementsAre;
using ::testing::SizeIs;

std::vector<std::vector<int64_t>> Shapes(const CapturePlan& capture) {
  std::vector<std::vector<int64_t>> shapes;
  for (const TensorPlan& tensor : capture.tensors)
    shapes.emplace_back(tensor.shape.begin(), tensor.shape.end());
  return shapes;
}

// The pick of one axis of the first tensor of the only capture.
AxisPick PickOf(const std::string& capture, size_t axis) {
  const auto plan = MustPlan(Spec("captures { " + capture + " }"));
  return plan->captures.at(0).tensors.at(0).slice.picks.at(axis);
}

std::vector<int64_t> ListOf(const AxisPick& pick) {
  const int64_t* data = pick.indices.const_data_ptr<int64_t>();
  return std::vector<int64_t>(data, data + pick.count);
}

// Names.

TEST(RunPlan, ReturnsAnAliasUnderBothItsNames) {
  const auto plan = MustPlan(Spec("captures { hook: 'blocks.1.hook_resid_post' }"));
  ASSERT_THAT(plan->captures, SizeIs(1));
  EXPECT_THAT(plan->captures[0].names,
              ElementsAre("blocks.1.hook_resid_post", "blocks.1.hook_out"));
  EXPECT_THAT(plan->captures[0].captures, ElementsAre(0));
}

TEST(RunPlan, ReturnsAGlobUnderJustTheNamesThatItMatched) {
  const auto plan = MustPlan(Spec("captures { hook: 'blocks.*.hook_resid_post' }"));
  ASSERT_THAT(plan->captures, SizeIs(6));
  EXPECT_THAT(plan->captures[2].names, ElementsAre("blocks.2.hook_resid_post"));
}

TEST(RunPlan, SendsEachDistinctTensorOnce) {
  const auto plan = MustPlan(Spec(R"pb(
    captures {
      hook: "blocks.1.hook_out"
      positions { range { stop: 3 } }
    }
    captures {
      hook: "blocks.1.hook_resid_post"
      positions { indices { values: [ 0, 1, 2 ] } }
    }
    captures {
      hook: "blocks.1.hook_out"
      positions { range { start: 0 stop: 3 } }
      dtype: DTYPE_FLOAT32
    }
  )pb"));
  ASSERT_THAT(plan->captures, SizeIs(1));
  EXPECT_THAT(plan->captures[0].names,
              ElementsAre("blocks.1.hook_out", "blocks.1.hook_resid_post"));
  EXPECT_THAT(plan->captures[0].captures, ElementsAre(0, 1, 2));
  EXPECT_EQ(plan->n_tensors, 2u);
}

TEST(RunPlan, KeepsCapturesApartThatDiffer) {
  const auto plan = MustPlan(Spec(R"pb(
    captures { hook: "hook_embed" }
    captures { hook: "hook_embed" dtype: DTYPE_FLOAT16 }
    captures { hook: "hook_embed" moment: MOMENT_BEFORE }
    captures {
      hook: "hook_embed"
      positions { indices { values: 0 } }
    }
    captures { hook: "hook_embed" sequences: 1 }
    captures {
      hook: "hook_embed"
      positions { indices { values: [ 0, 2, 1 ] } }
    }
    captures {
      hook: "hook_embed"
      positions { indices { values: [ 2, 0, 1 ] } }
    }
    captures {
      hook: "hook_embed"
      positions { indices { values: [ 2, 0, 1 ] } }
    }
  )pb"));
  ASSERT_THAT(plan->captures, SizeIs(7));
  // What is read before the interventions comes first.
  EXPECT_TRUE(plan->captures[0].before_interventions);
  EXPECT_THAT(plan->captures[0].captures, ElementsAre(2));
  EXPECT_THAT(plan->captures[6].captures, ElementsAre(6, 7));
}

TEST(RunPlan, NumbersTensorsInTheOrderOfThePass) {
  const auto plan = MustPlan(Spec(R"pb(
    captures { hook: "blocks.4.hook_out" }
    captures { hook: "hook_embed" }
    outputs {
      logits {}
      log_probs {}
    }
  )pb"));
  ASSERT_THAT(plan->captures, SizeIs(2));
  EXPECT_THAT(plan->captures[0].captures, ElementsAre(1));
  EXPECT_EQ(plan->captures[0].tensors[1].index, 1u);
  EXPECT_EQ(plan->captures[1].tensors[0].index, 2u);
  ASSERT_THAT(plan->outputs, SizeIs(2));
  EXPECT_EQ(plan->outputs[0].tensors[0].index, 4u);
  EXPECT_EQ(plan->outputs[1].tensors[1].index, 7u);
  EXPECT_EQ(plan->n_tensors, 8u);
}

TEST(RunPlan, TakesEveryHookPointOfAGlob) {
  const auto plan = MustPlan(Spec("captures { hook: '**' }"));
  EXPECT_EQ(static_cast<int>(plan->captures.size()), TinyModel().catalogue().size());
  EXPECT_TRUE(plan->finish);
}

TEST(RunPlan, SuggestsTheNearestName) {
  const absl::Status status =
      TryPlan(Spec("captures { hook: 'blocks.1.hook_resid_pos' }")).status();
  ExpectRefused(status, {v1::ERROR_REASON_HOOK_NOT_FOUND, "spec.captures[0].hook",
                         "blocks.1.hook_resid_post"});
  EXPECT_EQ(MetadataOf(status, "suggestion"), "blocks.1.hook_resid_post");
  EXPECT_EQ(MetadataOf(status, "hook"), "blocks.1.hook_resid_pos");
}

TEST(RunPlan, GivesTheWholeListPutRight) {
  const absl::Status status = TryPlan(Spec(R"pb(
                                captures { hook: "hook_embed" }
                                captures { hook: "blocks.1.hook_resid_pos" }
                              )pb"))
                                  .status();
  ExpectRefused(status, {v1::ERROR_REASON_HOOK_NOT_FOUND, "spec.captures[1].hook",
                         "the list put right: hook_embed, blocks.1.hook_resid_post"});
  EXPECT_EQ(MetadataOf(status, "corrected"), "hook_embed, blocks.1.hook_resid_post");
}

TEST(RunPlan, RejectsHookThatCannotFireOnSharedLayer) {
  ExpectRefused(Spec("captures { hook: 'blocks.4.attn.hook_k' }"),
                {v1::ERROR_REASON_HOOK_ABSENT, "spec.captures[0].hook",
                 "layer 4 reuses the keys and values of layer 2"});
}

TEST(RunPlan, RejectsAGlobWithoutAMatch) {
  ExpectRefused(Spec("captures { hook: 'blocks.*.hook_nothing' }"),
                {v1::ERROR_REASON_GLOB_NO_MATCH, "spec.captures[0].hook", "blocks.*.hook_nothing"});
}

TEST(RunPlan, RejectsAnEndlessName) {
  const absl::Status status =
      TryPlan(Spec("captures { hook: '" + std::string(100'000, '*') + "' }")).status();
  ExpectRefused(status, {v1::ERROR_REASON_HOOK_NOT_FOUND, "spec.captures[0].hook",
                         "names have at most 256 characters"});
  EXPECT_LT(status.message().size(), size_t{1000});
}

TEST(RunPlan, LeavesOutNamesOfOtherLayersAndModelsOnRequest) {
  const auto plan = MustPlan(Spec(R"pb(
    captures { hook: "blocks.4.attn.hook_k" missing: MISSING_SKIP }
    captures { hook: "blocks.0.router.hook_out" missing: MISSING_SKIP }
    captures { hook: "blocks.*.experts.*" missing: MISSING_SKIP }
    captures { hook: "blocks.3.attn.hook_k" missing: MISSING_SKIP }
  )pb"));
  EXPECT_THAT(plan->skipped, ElementsAre("blocks.4.attn.hook_k", "blocks.0.router.hook_out",
                                         "blocks.*.experts.*"));
  ASSERT_THAT(plan->captures, SizeIs(1));
  EXPECT_THAT(plan->captures[0].captures, ElementsAre(3));
}

TEST(RunPlan, LeavesOutNoNameThatNoModelHas) {
  ExpectRefused(Spec("captures { hook: 'hook_emebd' missing: MISSING_SKIP }"),
                {v1::ERROR_REASON_HOOK_NOT_FOUND, "spec.captures[0].hook", "hook_embed"});
  ExpectRefused(Spec("captures { hook: 'blocks.17.hook_in' missing: MISSING_SKIP }"),
                {v1::ERROR_REASON_HOOK_NOT_FOUND, "spec.captures[0].hook", "layers 0 to 5"});
  ExpectRefused(Spec("captures { hook: 'blocks.*.hook_nothing' missing: MISSING_SKIP }"),
                {v1::ERROR_REASON_GLOB_NO_MATCH, "spec.captures[0].hook", "blocks.*.hook_nothing"});
  // The list put right is without what may be left out.
  const absl::Status status = TryPlan(Spec(R"pb(
                                captures { hook: "blocks.4.attn.hook_k" missing: MISSING_SKIP }
                                captures { hook: "hook_emebd" missing: MISSING_SKIP }
                              )pb"))
                                  .status();
  EXPECT_EQ(MetadataOf(status, "corrected"), "hook_embed");
}

// How far the pass runs.

TEST(RunPlan, EndsThePassAfterTheLastWantedHook) {
  EXPECT_EQ(MustPlan(Spec("captures { hook: 'hook_embed' }"))->n_layers_run, 0);
  EXPECT_EQ(MustPlan(Spec("captures { hook: 'blocks.2.hook_in' }"))->n_layers_run, 3);
  EXPECT_EQ(MustPlan(Spec("captures { hook: 'blocks.5.hook_out' }"))->n_layers_run, 6);
  EXPECT_FALSE(MustPlan(Spec("captures { hook: 'blocks.5.hook_out' }"))->finish);
  const auto plan = MustPlan(Spec("captures { hook: 'ln_final.hook_out' }"));
  EXPECT_EQ(plan->n_layers_run, 6);
  EXPECT_TRUE(plan->finish);
}

TEST(RunPlan, RejectsCapturesBehindTheStop) {
  const absl::Status status =
      TryPlan(Spec("stop_at_layer: 2 captures { hook: 'blocks.3.hook_out' }")).status();
  ExpectRefused(status, {v1::ERROR_REASON_NEVER_FIRES, "spec.captures[0].hook",
                         "blocks.3.hook_out never fires: the pass ends before layer 2 "
                         "(stop_at_layer); it needs stop_at_layer 4 or more"});
  EXPECT_EQ(MetadataOf(status, "hook"), "blocks.3.hook_out");
  EXPECT_EQ(MetadataOf(status, "stop_at_layer"), "2");
  EXPECT_TRUE(TryPlan(Spec("stop_at_layer: 4 captures { hook: 'blocks.3.hook_out' }")).ok());
}

TEST(RunPlan, PointsToTheResidualWhereTheStopIsTheHooksOwnLayer) {
  ExpectRefused(Spec("stop_at_layer: 2 captures { hook: 'blocks.2.hook_resid_pre' }"),
                {v1::ERROR_REASON_NEVER_FIRES, "spec.captures[0].hook",
                 "the residual stream that enters layer 2"});
}

TEST(RunPlan, RejectsTheFinalNormBehindAStop) {
  ExpectRefused(Spec("stop_at_layer: 6 captures { hook: 'ln_final.hook_out' }"),
                {v1::ERROR_REASON_NEVER_FIRES, "spec.captures[0].hook", "leave stop_at_layer out"});
}

TEST(RunPlan, TakesOfAGlobWhatLiesBeforeTheStop) {
  const auto plan = MustPlan(Spec("stop_at_layer: 2 captures { hook: 'blocks.*.hook_out' }"));
  ASSERT_THAT(plan->captures, SizeIs(2));
  EXPECT_THAT(plan->captures[1].names, ElementsAre("blocks.1.hook_out"));
  ExpectRefused(Spec("stop_at_layer: 0 captures { hook: 'blocks.*.hook_out' }"),
                {v1::ERROR_REASON_NEVER_FIRES, "spec.captures[0].hook", "blocks.0.hook_out"});
}

// Sequences.

TEST(RunPlan, TakesTheNamedSequences) {
  const auto plan = MustPlan(Spec("captures { hook: 'hook_embed' sequences: 1 }"));
  EXPECT_EQ(plan->captures[0].tensors[0].slice.sequence, 1);
  EXPECT_THAT(Shapes(plan->captures[0]), ElementsAre(ElementsAre(3, 32)));
}

TEST(RunPlan, RejectsSequencesThatTheRunDoesNotHave) {
  ExpectRefused(Spec("captures { hook: 'hook_embed' sequences: 2 }"),
                {v1::ERROR_REASON_SEQUENCE_OUT_OF_RANGE, "spec.captures[0].sequences",
                 "there is no sequence 2: the run has 2, numbered 0 to 1"});
}

TEST(RunPlan, RejectsSequencesThatAreNamedTwice) {
  ExpectRefused(
      Spec("captures { hook: 'hook_embed' sequences: [1, 0, 1] }"),
      {v1::ERROR_REASON_BAD_SELECTION, "spec.captures[0].sequences", "sequence 1 is named twice"});
}

// Positions, heads, features.

TEST(RunPlan, CountsNegativePositionsFromEachSequencesEnd) {
  const auto plan =
      MustPlan(Spec("captures { hook: 'hook_embed' positions { indices { values: -1 } } }"));
  EXPECT_EQ(plan->captures[0].tensors[0].slice.picks[0].start, 4);
  EXPECT_EQ(plan->captures[0].tensors[1].slice.picks[0].start, 2);
  EXPECT_THAT(Shapes(plan->captures[0]), ElementsAre(ElementsAre(1, 32), ElementsAre(1, 32)));
}

TEST(RunPlan, KeepsEvenlySpacedListsAsRanges) {
  const AxisPick pick = PickOf("hook: 'hook_embed' features { indices { values: [4, 7, 10] } }", 1);
  EXPECT_TRUE(pick.IsRange());
  EXPECT_EQ(pick.start, 4);
  EXPECT_EQ(pick.step, 3);
  EXPECT_EQ(pick.count, 3);
}

TEST(RunPlan, KeepsOtherListsInTheirOrder) {
  const AxisPick pick =
      PickOf("hook: 'hook_embed' features { indices { values: [9, -32, 4] } }", 1);
  EXPECT_FALSE(pick.IsRange());
  EXPECT_THAT(ListOf(pick), ElementsAre(9, 0, 4));
}

TEST(RunPlan, ResolvesRanges) {
  const AxisPick pick =
      PickOf("hook: 'hook_embed' features { range { start: -30 stop: 31 step: 4 } }", 1);
  EXPECT_EQ(pick.start, 2);
  EXPECT_EQ(pick.step, 4);
  EXPECT_EQ(pick.count, 8);  // 2, 6, …, 30
  EXPECT_EQ(PickOf("hook: 'hook_embed' features { range { step: 9223372036854775807 } }", 1).count,
            1);
}

TEST(RunPlan, TakesQueryPositionsAndKeyPositionsOfScores) {
  const auto plan = MustPlan(Spec(R"pb(
    captures {
      hook: "blocks.0.attn.hook_attn_scores"
      heads { indices { values: 3 } }
      positions { indices { values: -1 } }
      features { range { stop: 2 } }
    }
  )pb"));
  EXPECT_THAT(Shapes(plan->captures[0]), ElementsAre(ElementsAre(1, 1, 2), ElementsAre(1, 1, 2)));
  EXPECT_EQ(plan->captures[0].tensors[1].slice.picks[1].start, 2);
  const auto whole = MustPlan(Spec("captures { hook: 'blocks.0.attn.hook_pattern' }"));
  EXPECT_THAT(Shapes(whole->captures[0]), ElementsAre(ElementsAre(4, 5, 5), ElementsAre(4, 3, 3)));
}

TEST(RunPlan, RejectsPositionsOutOfRange) {
  const absl::Status status =
      TryPlan(Spec("captures { hook: 'hook_embed' positions { indices { values: 4 } } }")).status();
  ExpectRefused(status, {v1::ERROR_REASON_POSITION_OUT_OF_RANGE, "spec.captures[0].positions",
                         "position 4 is out of range in sequence 1, which has 3 tokens: they go "
                         "from 0 to 2, or from -3 to -1"});
  EXPECT_EQ(MetadataOf(status, "sequence"), "1");
  EXPECT_EQ(MetadataOf(status, "limit"), "3");
  ExpectRefused(Spec("captures { hook: 'hook_embed' positions { indices { values: -6 } } }"),
                {v1::ERROR_REASON_POSITION_OUT_OF_RANGE, "spec.captures[0].positions",
                 "position -6 is out of range in sequence 0"});
}

TEST(RunPlan, RejectsRangesThatReachOutOfTheAxis) {
  ExpectRefused(Spec("captures { hook: 'hook_embed' positions { range { start: 3 } } }"),
                {v1::ERROR_REASON_POSITION_OUT_OF_RANGE, "spec.captures[0].positions",
                 "start 3 of a range of positions is out of range in sequence 1"});
  ExpectRefused(Spec("captures { hook: 'hook_embed' features { range { stop: 33 } } }"),
                {v1::ERROR_REASON_FEATURE_OUT_OF_RANGE, "spec.captures[0].features",
                 "stop 33 of a range of features is out of range in embed.hook_out, whose axis "
                 "d_model has 32 elements"});
  ExpectRefused(
      Spec("captures { hook: 'hook_embed' features { range { start: -9223372036854775808 } } }"),
      {v1::ERROR_REASON_FEATURE_OUT_OF_RANGE, "spec.captures[0].features", "start -92"});
}

TEST(RunPlan, RejectsSelectionsOfNothing) {
  ExpectRefused(Spec("captures { hook: 'hook_embed' positions { indices {} } }"),
                {v1::ERROR_REASON_BAD_SELECTION, "spec.captures[0].positions", "is empty"});
  ExpectRefused(Spec("captures { hook: 'hook_embed' positions { range { start: 2 stop: 2 } } }"),
                {v1::ERROR_REASON_BAD_SELECTION, "spec.captures[0].positions",
                 "from 2 to 2 (stop not included) is empty"});
}

TEST(RunPlan, RejectsStepsBelowOne) {
  for (const char* step : {"0", "-1"}) {
    ExpectRefused(Spec("captures { hook: 'hook_embed' positions { range { step: " +
                       std::string(step) + " } } }"),
                  {v1::ERROR_REASON_BAD_SELECTION, "spec.captures[0].positions", "at least 1"});
  }
}

TEST(RunPlan, RejectsIndicesThatAreNamedTwice) {
  ExpectRefused(
      Spec("captures { hook: 'hook_embed' positions { indices { values: [1, 1] } } }"),
      {v1::ERROR_REASON_BAD_SELECTION, "spec.captures[0].positions", "position 1 is named twice"});
  ExpectRefused(
      Spec(
          "captures { hook: 'hook_embed' sequences: 0 positions { indices { values: [4, -1] } } }"),
      {v1::ERROR_REASON_BAD_SELECTION, "spec.captures[0].positions",
       "positions 4 and -1 are the same in sequence 0, which has 5 tokens"});
}

TEST(RunPlan, RejectsHeadsOutOfRange) {
  ExpectRefused(Spec("captures { hook: 'blocks.0.attn.hook_z' heads { indices { values: 4 } } }"),
                {v1::ERROR_REASON_HEAD_OUT_OF_RANGE, "spec.captures[0].heads",
                 "head 4 is out of range in blocks.0.attn.o.hook_in, which has 4 heads"});
}

TEST(RunPlan, SaysWhereHeadsAreKeyValueHeads) {
  ExpectRefused(Spec("captures { hook: 'blocks.0.attn.hook_k' heads { indices { values: 2 } } }"),
                {v1::ERROR_REASON_HEAD_OUT_OF_RANGE, "spec.captures[0].heads",
                 "key-value head 2 is out of range in blocks.0.attn.k.hook_out, which has 2 "
                 "key-value heads"});
}

TEST(RunPlan, RejectsHeadsWhereThereAreNone) {
  const absl::Status status =
      TryPlan(Spec("captures { hook: 'hook_embed' heads { indices { values: 0 } } }")).status();
  ExpectRefused(status, {v1::ERROR_REASON_NO_HEADS, "spec.captures[0].heads",
                         "embed.hook_out has no heads: its axes are [pos, d_model]"});
  EXPECT_EQ(MetadataOf(status, "axes"), "[pos, d_model]");
}

TEST(RunPlan, RejectsFeaturesWhereThereAreNone) {
  ExpectRefused(Spec("captures { hook: 'embed.hook_in' features { indices { values: 0 } } }"),
                {v1::ERROR_REASON_NO_SUCH_AXIS, "spec.captures[0].features",
                 "embed.hook_in has no features: its axes are [pos]"});
}

TEST(RunPlan, RejectsKeyPositionsOutOfRange) {
  ExpectRefused(
      Spec("captures { hook: 'blocks.0.attn.hook_pattern' features { indices { values: 3 } } }"),
      {v1::ERROR_REASON_POSITION_OUT_OF_RANGE, "spec.captures[0].features",
       "key position 3 is out of range in sequence 1"});
}

// Dtypes.

TEST(RunPlan, SendsTheHookPointsOwnDtypeUnlessAsked) {
  const auto& model = TinyModel(TinyVariant::kMoe, "bfloat16");
  const auto dtype = [&](const std::string& capture) {
    return MustPlan(Spec("captures { " + capture + " }"), model)->captures[0].dtype;
  };
  EXPECT_EQ(dtype("hook: 'hook_embed'"), at::kBFloat16);
  EXPECT_EQ(dtype("hook: 'blocks.0.router.hook_out'"), at::kFloat);
  EXPECT_EQ(dtype("hook: 'blocks.0.router.hook_indices'"), at::kLong);
  EXPECT_EQ(dtype("hook: 'hook_embed' dtype: DTYPE_FLOAT64"), at::kDouble);
  EXPECT_EQ(dtype("hook: 'embed.hook_in' dtype: DTYPE_INT64"), at::kLong);
}

TEST(RunPlan, RejectsDtypesThatCannotHoldTheTensor) {
  ExpectRefused(Spec("captures { hook: 'hook_embed' dtype: DTYPE_INT64 }"),
                {v1::ERROR_REASON_VALUE_DTYPE, "spec.captures[0].dtype",
                 "embed.hook_out holds float32 and cannot be sent as int64"});
  ExpectRefused(Spec("captures { hook: 'embed.hook_in' dtype: DTYPE_FLOAT32 }"),
                {v1::ERROR_REASON_VALUE_DTYPE, "spec.captures[0].dtype",
                 "embed.hook_in holds int64 and cannot be sent as float32"});
}

}  // namespace
}  // namespace hookwire::server
