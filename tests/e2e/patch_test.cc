// Interventions over the wire, in reference numerics: what they change, and what they leave alone.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "tests/e2e/support/daemon_test.h"
#include "tests/e2e/support/matchers.h"
#include "tests/e2e/support/slices.h"

namespace hookwire::e2e {
namespace {

using client::Add;
using client::At;
using client::Capture;
using client::Copy;
using client::Float32;
using client::Scalar;
using client::Scale;
using client::Set;
using client::Tensor;
using client::Zero;

class Patch : public DaemonTest<Reference> {
 protected:
  client::RunResult Collect(const v1::RunSpec& spec) const {
    auto result = client().Collect(spec);
    EXPECT_THAT(StatusOf(result), IsOk());
    return result.ok() ? *std::move(result) : client::RunResult{};
  }

  // The logits of every sequence at every position.
  std::vector<Bits> Logits(v1::RunSpec spec) const {
    spec.mutable_outputs()->mutable_logits();
    std::vector<Bits> logits;
    for (const Tensor& tensor : Collect(spec).tensors) logits.push_back(BytesOf(tensor));
    return logits;
  }

  // By how much the last position prefers Mary to John, in the second of two sequences.
  double LogitDifference(v1::RunSpec spec) const {
    *spec.mutable_outputs()->mutable_logits()->mutable_positions() = At(-1);
    const client::RunResult result = Collect(spec);
    const std::vector<double> logits = result.tensors.at(1).ToDoubles();
    return logits.at(TokenId("Mary")) - logits.at(TokenId("John"));
  }

  // One hook point of CorruptedPrompt after `interventions`, and before them.
  struct Change {
    std::vector<double> before;
    std::vector<double> after;
  };
  Change Observe(const std::string& hook, const std::vector<v1::Intervention>& interventions,
                 const client::Where& where = {}) const {
    v1::RunSpec spec = SpecOf({CorruptedPrompt()});
    *spec.add_captures() = Capture(hook, where);
    *spec.add_captures() = Capture(hook, where);
    spec.mutable_captures(0)->set_moment(v1::MOMENT_BEFORE);
    for (const v1::Intervention& intervention : interventions) {
      *spec.add_interventions() = intervention;
    }
    const client::RunResult result = Collect(spec);
    Change change;
    for (const Tensor& tensor : result.tensors) {
      (tensor.group().captures(0) == 0 ? change.before : change.after) = tensor.ToDoubles();
    }
    return change;
  }
};

TEST_F(Patch, ASequenceHasTheSameBitsAloneAndBesideOthers) {
  const std::vector<std::vector<uint32_t>> sequences = {
      CleanPrompt(), LongPrompt(33), CorruptedPrompt(), {2}};
  const std::vector<Bits> together = Logits(SpecOf(sequences));
  ASSERT_EQ(together.size(), sequences.size());
  for (size_t i = 0; i < sequences.size(); ++i) {
    EXPECT_EQ(together[i], Logits(SpecOf({sequences[i]})).at(0)) << i;
  }
}

TEST_F(Patch, CopyOfAllThatEntersGivesTheLogitsOfTheSource) {
  v1::RunSpec spec = SpecOf({CleanPrompt(), CorruptedPrompt()});
  const std::vector<Bits> unpatched = Logits(spec);
  ASSERT_NE(unpatched[0], unpatched[1]);

  // The stream at layer 0 alone leaves the per-layer inputs, which come from the token ids.
  *spec.add_interventions() = Copy("blocks.0.hook_resid_pre", 0, {.sequences = {1}});
  const std::vector<Bits> stream_alone = Logits(spec);
  EXPECT_EQ(stream_alone[0], unpatched[0]);
  EXPECT_NE(stream_alone[1], unpatched[0]);
  EXPECT_NE(stream_alone[1], unpatched[1]);

  *spec.add_interventions() = Copy("blocks.*.hook_per_layer_input", 0, {.sequences = {1}});
  const std::vector<Bits> patched = Logits(spec);
  EXPECT_EQ(patched[0], unpatched[0]);
  EXPECT_EQ(patched[1], unpatched[0]);
}

TEST_F(Patch, CopyOfTheLastStreamGivesTheLogitsOfTheSourceAtTheCopiedPositions) {
  v1::RunSpec spec = SpecOf({CleanPrompt(), CorruptedPrompt()});
  const std::vector<Bits> unpatched = Logits(spec);
  *spec.add_interventions() =
      Copy("blocks.5.hook_resid_post", 0, {.sequences = {1}, .pos = At(-1)});
  const std::string patched = Logits(spec).at(1).bytes;
  const size_t row = patched.size() / CleanPrompt().size();
  const size_t last = patched.size() - row;
  EXPECT_EQ(Bits{patched.substr(last)}, Bits{unpatched[0].bytes.substr(last)});
  EXPECT_EQ(Bits{patched.substr(0, last)}, Bits{unpatched[1].bytes.substr(0, last)});
}

TEST_F(Patch, TheGiverCausesTheAnswer) {
  v1::RunSpec spec = SpecOf({CleanPrompt(), CorruptedPrompt()});
  const double corrupted = LogitDifference(spec);
  EXPECT_LT(corrupted, -2.0);
  *spec.add_interventions() =
      Copy("blocks.1.hook_resid_pre", 0, {.sequences = {1}, .pos = At(kGiver)});
  EXPECT_GT(LogitDifference(spec), 2.0);
  spec.clear_interventions();
  // Before the giver both prompts are the same.
  *spec.add_interventions() = Copy("blocks.1.hook_resid_pre", 0, {.sequences = {1}, .pos = At(5)});
  EXPECT_EQ(LogitDifference(spec), corrupted);
}

TEST_F(Patch, CopyTakesTheSourceAsItIsAtThatPointOfTheList) {
  const std::string hook = "blocks.2.hook_resid_mid";
  v1::RunSpec spec = SpecOf({CleanPrompt(), CorruptedPrompt()});
  *spec.add_captures() = Capture(hook);
  *spec.add_interventions() = Zero(hook, {.sequences = {0}});
  *spec.add_interventions() = Copy(hook, 0, {.sequences = {1}});
  *spec.add_interventions() = Add(hook, Scalar(1), {.sequences = {0}});
  const client::RunResult result = Collect(spec);
  EXPECT_THAT(result.tensors.at(0).ToDoubles(), ::testing::Each(1.0));
  EXPECT_THAT(result.tensors.at(1).ToDoubles(), ::testing::Each(0.0));
}

TEST_F(Patch, SetPutsAValue) {
  const std::string hook = "blocks.3.attn.hook_z";  // [pos, head, d_head]
  std::vector<float> vector(16);
  for (size_t i = 0; i < vector.size(); ++i) vector[i] = 0.25F * static_cast<float>(i) - 1;
  const Change change =
      Observe(hook, {Set(hook, Float32(vector, {16}), {.pos = At({0, -1}), .head = At(2)})});
  const size_t positions = CorruptedPrompt().size();
  ASSERT_EQ(change.after.size(), positions * 4 * 16);
  for (size_t i = 0; i < change.after.size(); ++i) {
    const size_t pos = i / 64;
    const bool selected = (pos == 0 || pos == positions - 1) && i / 16 % 4 == 2;
    EXPECT_EQ(change.after[i], selected ? vector[i % 16] : change.before[i]) << i;
  }
}

TEST_F(Patch, AddAddsInTheDtypeOfTheHookPoint) {
  const std::string hook = "blocks.2.hook_resid_post";
  const Change change =
      Observe(hook, {Add(hook, Scalar(0.1), {.feature = client::Slice(1, {}, 2)})});
  ASSERT_FALSE(change.after.empty());
  for (size_t i = 0; i < change.after.size(); ++i) {
    const auto before = static_cast<float>(change.before[i]);
    EXPECT_EQ(change.after[i], i % 2 == 1 ? before + 0.1F : before) << i;
  }
}

TEST_F(Patch, ScaleMultiplies) {
  const std::string hook = "blocks.1.mlp.hook_post";
  const Change change = Observe(hook, {Scale(hook, Scalar(-0.5))});
  ASSERT_FALSE(change.after.empty());
  for (size_t i = 0; i < change.after.size(); ++i)
    EXPECT_EQ(change.after[i], change.before[i] * -0.5);
}

TEST_F(Patch, ZeroAblatesAHead) {
  const std::string hook = "blocks.2.attn.hook_z";
  const Change change = Observe(hook, {Zero(hook, {.head = At(-1)})});
  ASSERT_FALSE(change.after.empty());
  for (size_t i = 0; i < change.after.size(); ++i) {
    EXPECT_EQ(change.after[i], i / 32 % 4 == 3 ? 0.0 : change.before[i]) << i;
  }
}

TEST_F(Patch, SeveralChangesApplyInRequestOrder) {
  const std::string hook = "blocks.0.hook_resid_mid";
  const std::vector<v1::Intervention> ops = {Set(hook, Scalar(3)), Scale(hook, Scalar(2)),
                                             Add(hook, Scalar(1))};
  EXPECT_THAT(Observe(hook, ops).after, ::testing::Each(7.0));
  EXPECT_THAT(Observe(hook, {ops[2], ops[1], ops[0]}).after, ::testing::Each(3.0));
}

TEST_F(Patch, MinusInfinityAtTheScoresKnocksAttentionOut) {
  const double minus_infinity = -std::numeric_limits<double>::infinity();
  v1::RunSpec spec = SpecOf({CleanPrompt()});
  *spec.add_captures() = Capture("blocks.2.attn.hook_pattern", {.pos = At(-1)});
  *spec.add_interventions() = Set("blocks.2.attn.hook_attn_scores", Scalar(minus_infinity),
                                  {.pos = At(-1), .feature = At({2, kGiver})});
  const client::RunResult result = Collect(spec);
  const std::vector<double> pattern = result.tensors.at(0).ToDoubles();  // [head, 1, key_pos]
  const size_t keys = CleanPrompt().size();
  ASSERT_EQ(pattern.size(), 4 * keys);
  for (size_t head = 0; head < 4; ++head) {
    double sum = 0;
    for (size_t key = 0; key < keys; ++key) sum += pattern[head * keys + key];
    EXPECT_NEAR(sum, 1.0, 1e-5);
    EXPECT_EQ(pattern[head * keys + 2], 0.0);
    EXPECT_EQ(pattern[head * keys + kGiver], 0.0);
  }
  EXPECT_EQ(result.receipt.non_finite_size(), 0);
}

TEST_F(Patch, NonFiniteValuesThatWereAllowedAreReported) {
  v1::RunSpec spec = SpecOf({CleanPrompt()});
  spec.set_allow_non_finite(true);
  *spec.add_captures() = Capture("blocks.4.hook_resid_post", {.pos = At(3)});
  *spec.add_interventions() =
      Set("blocks.4.hook_resid_post", Scalar(std::numeric_limits<double>::quiet_NaN()),
          {.pos = At(3), .feature = client::Slice(0, 5)});
  *spec.add_interventions() =
      Set("blocks.4.hook_resid_post", Scalar(std::numeric_limits<double>::infinity()),
          {.pos = At(3), .feature = At(7)});
  const client::RunResult result = Collect(spec);
  ASSERT_EQ(result.receipt.non_finite_size(), 1);
  const v1::NonFinite& found = result.receipt.non_finite(0);
  EXPECT_EQ(found.hook(), "blocks.4.hook_out");
  EXPECT_EQ(found.sequence(), 0U);
  EXPECT_EQ(found.nan(), 5U);
  EXPECT_EQ(found.inf(), 1U);
}

}  // namespace
}  // namespace hookwire::e2e
