// The tap by itself, shown tensors that no model has made.
#include "server/execute/run_tap.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/execute/recording_output.h"

namespace hookwire::server {
namespace {

using hookwire::testing::MustPlan;
using hookwire::testing::RecordingOutput;
using hookwire::testing::RunToEnd;
using hookwire::testing::Spec;
using hookwire::testing::TinyModel;
using ::testing::HasSubstr;

// A tap over the plan of a request of two sequences, of 5 and of 3 tokens.
struct TapOf {
  explicit TapOf(const std::string& text)
      : plan(MustPlan(Spec(text))),
        group(GroupSequences(*plan, 1 << 20).front()),
        emitter(*plan, output, context),
        tap(*plan, group, TinyModel().catalogue(), emitter) {}

  model::HookId Id(const std::string& name) const { return *TinyModel().catalogue().Find(name); }
  absl::Status Visit(const std::string& name, std::vector<at::Tensor>& values) {
    return tap.Visit(Id(name), {{0, 5}, {0, 3}}, absl::MakeSpan(values));
  }

  std::shared_ptr<const RunPlan> plan;
  SequenceGroup group;
  RecordingOutput output;
  hookwire::testing::BareContext context;
  Emitter emitter;
  RunTap tap;
};

std::vector<at::Tensor> Streams() { return {at::randn({5, 32}), at::randn({3, 32})}; }

constexpr char kScaleEmbed[] = R"pb(
  captures { hook: "hook_embed" sequences: 0 moment: MOMENT_BEFORE }
  captures { hook: "hook_embed" sequences: 0 }
  interventions {
    hook: "hook_embed"
    sequences: 0
    scale { factor { scalar: 2 } }
  }
)pb";

TEST(RunTap, WantsThePlacesAndSequencesOfItsPlan) {
  TapOf one(R"pb(
    captures { hook: "blocks.0.hook_out" sequences: 1 }
    captures { hook: "blocks.5.hook_out" sequences: 0 }
    interventions {
      hook: "blocks.3.hook_out"
      sequences: 0
      positions { indices { values: 0 } }
      copy { from_sequence: 1 }
    }
    interventions {
      hook: "blocks.4.hook_out"
      sequences: 1
      zero {}
    }
  )pb");
  EXPECT_TRUE(one.tap.Wants(one.Id("blocks.0.hook_out")));
  EXPECT_FALSE(one.tap.Wants(one.Id("blocks.0.hook_out"), 0));
  EXPECT_TRUE(one.tap.Wants(one.Id("blocks.0.hook_out"), 1));
  EXPECT_TRUE(one.tap.Wants(one.Id("blocks.3.hook_out"), 0));
  EXPECT_TRUE(one.tap.Wants(one.Id("blocks.3.hook_out"), 1)) << "it is copied from";
  EXPECT_TRUE(one.tap.Wants(one.Id("blocks.4.hook_out"), 1));
  EXPECT_FALSE(one.tap.Wants(one.Id("blocks.1.hook_out")));
  EXPECT_FALSE(one.tap.Wants(one.Id("blocks.1.hook_out"), 0));
}

TEST(RunTap, NeverWritesIntoWhatItIsShown) {
  TapOf one(kScaleEmbed);
  std::vector<at::Tensor> values = Streams();
  const at::Tensor shown = values[0];
  const at::Tensor before = shown.clone();
  ASSERT_TRUE(one.Visit("hook_embed", values).ok());
  EXPECT_TRUE(at::equal(shown, before));
  EXPECT_TRUE(at::equal(values[0], before.mul(2)));
  EXPECT_TRUE(at::equal(one.output.tensors.at(0), before));
  EXPECT_TRUE(at::equal(one.output.tensors.at(1), before.mul(2)));
}

TEST(RunTap, CopiesWhatSharesItsStorage) {
  TapOf one("captures { hook: 'hook_embed' }");
  const at::Tensor batch = at::randn({8, 32});
  std::vector<at::Tensor> values = {batch.slice(0, 0, 5), batch.slice(0, 5)};
  ASSERT_TRUE(one.Visit("hook_embed", values).ok());
  for (const uint32_t i : {0u, 1u}) {
    EXPECT_FALSE(one.output.tensors.at(i).is_alias_of(batch));
    EXPECT_TRUE(at::equal(one.output.tensors.at(i), values[i]));
  }
}

TEST(RunTap, EmitsWhatIsAloneInItsStorageWithoutACopy) {
  TapOf one("captures { hook: 'hook_embed' }");
  std::vector<at::Tensor> values = Streams();
  ASSERT_TRUE(one.Visit("hook_embed", values).ok());
  EXPECT_TRUE(one.output.tensors.at(0).is_alias_of(values[0]));
}

TEST(RunTap, LeavesSequencesThatNobodyWantsAlone) {
  TapOf one(kScaleEmbed);
  std::vector<at::Tensor> values = {at::randn({5, 32}), at::Tensor()};
  EXPECT_TRUE(one.Visit("hook_embed", values).ok());
  EXPECT_FALSE(values[1].defined());
}

TEST(RunTap, RefusesAPlaceThatIsShownTwice) {
  TapOf one(kScaleEmbed);
  std::vector<at::Tensor> values = Streams();
  EXPECT_TRUE(one.Visit("hook_embed", values).ok());
  const absl::Status status = one.Visit("hook_embed", values);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("came to embed.hook_out twice"));
}

TEST(RunTap, RefusesValuesThatDoNotHaveTheAxesOfTheCatalogue) {
  for (const std::vector<int64_t>& shape :
       std::vector<std::vector<int64_t>>{{6, 32}, {5, 33}, {5, 32, 1}}) {
    TapOf one(kScaleEmbed);
    std::vector<at::Tensor> values = {at::randn(shape), at::Tensor()};
    EXPECT_EQ(one.Visit("hook_embed", values).code(), absl::StatusCode::kInternal);
  }
  TapOf one(kScaleEmbed);
  std::vector<at::Tensor> values(2);
  EXPECT_EQ(one.Visit("hook_embed", values).code(), absl::StatusCode::kInternal);
}

TEST(Execute, LeavesTheSiblingsOfABranchAlone) {
  // One sequence, so that the pass shows its own tensors and no views of a batch.
  const auto run = RunToEnd(Spec(R"pb(
    sequences { token_ids: [ 3, 4, 5 ] }
    interventions {
      hook: "blocks.0.attn.q.hook_in"
      scale { factor { scalar: 2 } }
    }
    captures { hook: "blocks.0.attn.q.hook_in" moment: MOMENT_BEFORE }
    captures { hook: "blocks.0.attn.q.hook_in" }
    captures { hook: "blocks.0.attn.k.hook_in" }
  )pb"));
  EXPECT_TRUE(at::equal(run.Captured(1, 0), run.Captured(0, 0).mul(2)));
  EXPECT_TRUE(at::equal(run.Captured(2, 0), run.Captured(0, 0)));
}

}  // namespace
}  // namespace hookwire::server
