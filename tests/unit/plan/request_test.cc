// Sequences, fields and limits of a request as a whole.
#include <cstdint>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/support/run_specs.h"

namespace hookwire::server {
namespace {

using hookwire::testing::ExpectRefused;
using hookwire::testing::MakeTinyModel;
using hookwire::testing::MetadataOf;
using hookwire::testing::MustPlan;
using hookwire::testing::Spec;
using hookwire::testing::TinyModel;
using hookwire::testing::TinyOptions;
using hookwire::testing::TryPlan;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(RunPlan, KeepsSequencesAndCountsTokens) {
  const auto plan = MustPlan(Spec(""));
  EXPECT_THAT(plan->sequences, ElementsAre(ElementsAre(3, 4, 5, 6, 7), ElementsAre(8, 9, 10)));
  EXPECT_EQ(plan->total_tokens, uint64_t{8});
}

TEST(RunPlan, RunsNothingWhereNothingIsWanted) {
  const auto plan = MustPlan(Spec(""));
  EXPECT_EQ(plan->n_layers_run, 0);
  EXPECT_FALSE(plan->finish);
  EXPECT_EQ(plan->n_tensors, 0u);
  EXPECT_EQ(plan->total_bytes, uint64_t{0});
}

TEST(RunPlan, RejectsARunWithoutSequences) {
  ExpectRefused(v1::RunSpec(), {v1::ERROR_REASON_NO_SEQUENCES, "spec.sequences", "at least one"});
}

TEST(RunPlan, RejectsAnEmptySequence) {
  ExpectRefused(Spec("sequences { token_ids: 1 } sequences {}"),
                {v1::ERROR_REASON_SEQUENCE_EMPTY, "spec.sequences[1]", "sequence 1 is empty"});
}

TEST(RunPlan, RejectsASequenceLongerThanTheContext) {
  v1::RunSpec spec;
  v1::Sequence* sequence = spec.add_sequences();
  for (int i = 0; i < 65; ++i) sequence->add_token_ids(1);
  ExpectRefused(spec, {v1::ERROR_REASON_SEQUENCE_TOO_LONG, "spec.sequences[0]",
                       "sequence 0 has 65 tokens: the model takes at most 64"});
  EXPECT_EQ(MetadataOf(TryPlan(spec).status(), "tokens"), "65");
  EXPECT_EQ(MetadataOf(TryPlan(spec).status(), "limit"), "64");
  sequence->mutable_token_ids()->RemoveLast();
  EXPECT_TRUE(TryPlan(spec).ok());
}

TEST(RunPlan, RejectsATokenOutsideTheVocabulary) {
  ExpectRefused(Spec("sequences { token_ids: 1 } sequences { token_ids: [2, 48] }"),
                {v1::ERROR_REASON_TOKEN_OUT_OF_RANGE, "spec.sequences[1].token_ids[1]",
                 "token id 48 at position 1 of sequence 1 is out of range: token ids of this model "
                 "go from 0 to 47"});
  EXPECT_TRUE(TryPlan(Spec("sequences { token_ids: 47 }")).ok());
}

TEST(RunPlan, RejectsATokenOutsideThePerLayerEmbeddings) {
  TinyOptions options;
  options.d_vocab_per_layer_input = 40;
  const auto model = MakeTinyModel(options);
  ExpectRefused(
      Spec("sequences { token_ids: 40 }"),
      {v1::ERROR_REASON_TOKEN_OUT_OF_RANGE, "spec.sequences[0].token_ids[0]", "go from 0 to 39"},
      *model);
}

TEST(RunPlan, RejectsMoreTokensThanTheServerTakes) {
  Limits limits;
  limits.max_tokens = 7;
  ExpectRefused(Spec(""),
                {v1::ERROR_REASON_TOO_MANY_TOKENS, "spec.sequences",
                 "the run has 8 tokens in 2 sequences: this server takes at most 7"},
                TinyModel(), limits);
  limits.max_tokens = 8;
  EXPECT_TRUE(TryPlan(Spec(""), TinyModel(), limits).ok());
}

TEST(RunPlan, RejectsAStopBehindTheLastLayer) {
  ExpectRefused(Spec("stop_at_layer: 7"), {v1::ERROR_REASON_STOP_OUT_OF_RANGE, "spec.stop_at_layer",
                                           "stop_at_layer is 7: the model has 6 layers"});
  EXPECT_TRUE(TryPlan(Spec("stop_at_layer: 6")).ok());
}

TEST(RunPlan, RejectsMessageSizesOutsideTheirBounds) {
  for (const uint32_t bytes : {1u, 65'535u, (1u << 30) + 1}) {
    v1::RunSpec spec = Spec("");
    spec.set_max_message_bytes(bytes);
    ExpectRefused(spec, {v1::ERROR_REASON_BAD_FIELD, "spec.max_message_bytes", "between 65536"});
  }
  EXPECT_EQ(MustPlan(Spec(""))->max_message_bytes, 2u << 20);
  EXPECT_EQ(MustPlan(Spec("max_message_bytes: 65536"))->max_message_bytes, 65'536u);
}

TEST(RunPlan, RejectsAResultOverTheRunsOwnLimit) {
  // [5 + 3 tokens, 32] float32 at one place, [4 heads, 8] at another.
  const std::string captures = R"pb(
    captures { hook: "blocks.0.hook_out" }
    captures {
      hook: "blocks.0.attn.q.hook_out"
      positions { indices { values: 0 } }
    }
  )pb";
  const uint64_t bytes = 8 * 32 * 4 + 2 * 4 * 8 * 4;
  EXPECT_EQ(MustPlan(Spec(captures))->total_bytes, bytes);
  EXPECT_TRUE(TryPlan(Spec(captures + "max_result_bytes: 1280")).ok());
  const v1::RunSpec spec = Spec(captures + "max_result_bytes: 1279");
  ExpectRefused(spec, {v1::ERROR_REASON_RESULT_TOO_LARGE, "spec.max_result_bytes",
                       "the result would be 1280 bytes (1.2 KiB), over this run's max_result_bytes "
                       "of 1279 (1.2 KiB); largest: blocks.0.hook_out (1.0 KiB), "
                       "blocks.0.attn.q.hook_out (256 B)"});
  EXPECT_EQ(MetadataOf(TryPlan(spec).status(), "bytes"), "1280");
  EXPECT_EQ(MetadataOf(TryPlan(spec).status(), "limit"), "1279");
}

TEST(RunPlan, RejectsAResultOverTheServersLimit) {
  Limits limits;
  limits.max_result_bytes = 1000;
  const v1::RunSpec spec = Spec("captures { hook: 'blocks.0.hook_out' } max_result_bytes: 5000");
  ExpectRefused(spec,
                {v1::ERROR_REASON_RESULT_TOO_LARGE, "spec.max_result_bytes",
                 "over the server's limit of 1000"},
                TinyModel(), limits);
  limits.max_result_bytes = 0;
  EXPECT_TRUE(TryPlan(spec, TinyModel(), limits).ok());
}

TEST(RunPlan, NamesTheThreeLargestContributors) {
  const absl::Status status =
      TryPlan(Spec("captures { hook: 'blocks.0.**' } outputs { logits {} } max_result_bytes: 10"))
          .status();
  // Of a thousand bytes each, but for the MLP's width and the vocabulary: both 8 × 48 × 4.
  EXPECT_THAT(MetadataOf(status, "largest"), HasSubstr("blocks.0.attn.hook_q_input (4.0 KiB)"));
}

TEST(RunPlan, RejectsMoreTensorsThanTheServerSends) {
  Limits limits;
  limits.max_tensors = 3;
  const v1::RunSpec four =
      Spec("captures { hook: 'blocks.0.hook_out' } captures { hook: 'blocks.1.hook_out' }");
  ExpectRefused(four,
                {v1::ERROR_REASON_TOO_MANY_TENSORS, "spec.captures",
                 "the result would have 4 tensors: this server sends at most 3"},
                TinyModel(), limits);
  limits.max_tensors = 4;
  EXPECT_TRUE(TryPlan(four, TinyModel(), limits).ok());
}

TEST(RunPlan, BoundsThePlanningOfRepeatedCaptures) {
  Limits limits;
  limits.max_tensors = 4;
  v1::RunSpec spec = Spec("");
  for (int i = 0; i < 9; ++i) spec.add_captures()->set_hook("blocks.0.hook_out");
  // Nine times the same two tensors: two are sent, and eighteen were asked for.
  ExpectRefused(spec,
                {v1::ERROR_REASON_TOO_MANY_TENSORS, "spec.captures[8]", "more than 16 tensors"},
                TinyModel(), limits);
}

// Fields.

TEST(RunPlan, RejectsASelectionThatSelectsNothing) {
  ExpectRefused(
      Spec("captures { hook: 'hook_embed' } captures { hook: 'hook_embed' positions {} }"),
      {v1::ERROR_REASON_BAD_FIELD, "spec.captures[1].positions", "set `indices` or `range`"});
  ExpectRefused(Spec("interventions { hook: 'hook_embed' features {} zero {} }"),
                {v1::ERROR_REASON_BAD_FIELD, "spec.interventions[0].features", "selects nothing"});
  ExpectRefused(Spec("outputs { logits { positions {} } }"),
                {v1::ERROR_REASON_BAD_FIELD, "spec.outputs.logits.positions", "selects nothing"});
}

TEST(RunPlan, RejectsAnInterventionWithoutAnOperation) {
  ExpectRefused(Spec("interventions { hook: 'hook_embed' }"),
                {v1::ERROR_REASON_BAD_FIELD, "spec.interventions[0]", "set one of `set`, `add`"});
}

TEST(RunPlan, RejectsAnOperationWithoutItsValue) {
  ExpectRefused(Spec("interventions { hook: 'hook_embed' set {} }"),
                {v1::ERROR_REASON_BAD_FIELD, "spec.interventions[0].set.value", "is missing"});
  ExpectRefused(Spec("interventions { hook: 'hook_embed' add { value {} } }"),
                {v1::ERROR_REASON_BAD_FIELD, "spec.interventions[0].add.value", "is missing"});
  ExpectRefused(Spec("interventions { hook: 'hook_embed' scale {} }"),
                {v1::ERROR_REASON_BAD_FIELD, "spec.interventions[0].scale.factor", "is missing"});
}

TEST(RunPlan, RejectsAHookWithoutAName) {
  ExpectRefused(Spec("captures {}"),
                {v1::ERROR_REASON_BAD_FIELD, "spec.captures[0].hook", "names no hook point"});
}

TEST(RunPlan, RejectsEnumValuesThatItDoesNotKnow) {
  v1::RunSpec spec = Spec("captures { hook: 'hook_embed' }");
  spec.mutable_captures(0)->set_dtype(static_cast<v1::Dtype>(42));
  ExpectRefused(spec, {v1::ERROR_REASON_BAD_FIELD, "spec.captures[0].dtype", "is 42"});
  spec.mutable_captures(0)->set_dtype(v1::DTYPE_FLOAT32);
  spec.mutable_captures(0)->set_moment(static_cast<v1::Moment>(9));
  ExpectRefused(spec, {v1::ERROR_REASON_BAD_FIELD, "spec.captures[0].moment", "MOMENT_BEFORE"});
  spec.mutable_captures(0)->set_moment(v1::MOMENT_AFTER);
  spec.mutable_captures(0)->set_missing(static_cast<v1::Missing>(9));
  ExpectRefused(spec, {v1::ERROR_REASON_BAD_FIELD, "spec.captures[0].missing", "MISSING_SKIP"});

  spec = Spec("outputs { logits {} }");
  spec.mutable_outputs()->mutable_logits()->set_dtype(static_cast<v1::Dtype>(42));
  ExpectRefused(spec, {v1::ERROR_REASON_BAD_FIELD, "spec.outputs.logits.dtype", "is 42"});

  spec = Spec("interventions { hook: 'hook_embed' set { value { tensor {} } } }");
  spec.mutable_interventions(0)->mutable_set()->mutable_value()->mutable_tensor()->set_dtype(
      static_cast<v1::Dtype>(42));
  ExpectRefused(
      spec, {v1::ERROR_REASON_BAD_FIELD, "spec.interventions[0].set.value.tensor.dtype", "is 42"});
}

}  // namespace
}  // namespace hookwire::server
