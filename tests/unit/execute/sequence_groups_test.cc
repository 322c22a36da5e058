#include "server/plan/sequence_groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "model/numerics.h"
#include "server/execute/executor.h"
#include "tests/unit/execute/recording_output.h"
#include "tests/unit/support/run_specs.h"
#include "tests/unit/support/tiny_model.h"

namespace hookwire::server {
namespace {

using hookwire::testing::Finished;
using hookwire::testing::RunToEnd;
using hookwire::testing::TinyModel;
using ::testing::Each;
using ::testing::ElementsAre;

// A plan of sequences of these lengths.
RunPlan Lengths(const std::vector<size_t>& lengths) {
  RunPlan plan;
  for (const size_t length : lengths) plan.sequences.emplace_back(length, 1);
  return plan;
}

void Copy(RunPlan& plan, int from, int to) {
  OpPlan op;
  op.kind = OpKind::kCopy;
  op.targets = {{.sequence = to, .picks = {}}};
  op.sources = {{.sequence = from, .picks = {}}};
  plan.ops.push_back(op);
}

std::vector<std::vector<int>> Split(const RunPlan& plan, int64_t max_tokens) {
  std::vector<std::vector<int>> out;
  for (const SequenceGroup& group : GroupSequences(plan, max_tokens))
    out.push_back(group.sequences);
  return out;
}

TEST(Passes, TakeAsManySequencesAsFit) {
  EXPECT_THAT(Split(Lengths({3, 4, 5}), 12), ElementsAre(ElementsAre(0, 1, 2)));
  EXPECT_THAT(Split(Lengths({3, 4, 5}), 11), ElementsAre(ElementsAre(0, 1), ElementsAre(2)));
  EXPECT_THAT(Split(Lengths({9, 1, 1, 9}), 4),
              ElementsAre(ElementsAre(0), ElementsAre(1, 2), ElementsAre(3)));
}

TEST(Passes, KeepTogetherWhatIsCopiedBetween) {
  RunPlan plan = Lengths({4, 4, 4, 4, 4});
  Copy(plan, 3, 0);
  Copy(plan, 3, 4);
  EXPECT_THAT(Split(plan, 4), ElementsAre(ElementsAre(0, 3, 4), ElementsAre(1), ElementsAre(2)));
  EXPECT_THAT(Split(plan, 16), ElementsAre(ElementsAre(0, 1, 3, 4), ElementsAre(2)));
}

TEST(Passes, KnowWhereEachSequenceIs) {
  RunPlan plan = Lengths({4, 4, 4});
  Copy(plan, 0, 2);
  const std::vector<SequenceGroup> groups = GroupSequences(plan, 4);
  EXPECT_THAT(groups[0].indices, ElementsAre(0, SequenceGroup::kElsewhere, 1));
  EXPECT_THAT(groups[1].indices,
              ElementsAre(SequenceGroup::kElsewhere, 0, SequenceGroup::kElsewhere));
  EXPECT_EQ(groups[1].number, 1);
  EXPECT_EQ(groups[1].count, 2);
}

// Everything that a run can ask for, over four sequences, two of which are tied to each other.
constexpr char kRun[] = R"pb(
  sequences { token_ids: [ 3, 4, 5, 6, 7 ] }
  sequences { token_ids: [ 8, 9, 10 ] }
  sequences { token_ids: [ 11, 12, 13, 14, 15 ] }
  sequences { token_ids: [ 16, 17 ] }
  captures { hook: "blocks.1.hook_out" }
  captures {
    hook: "blocks.2.attn.hook_pattern"
    sequences: [ 1, 3 ]
  }
  interventions {
    hook: "blocks.1.hook_out"
    sequences: 0
    copy { from_sequence: 2 }
  }
  interventions {
    hook: "blocks.0.hook_out"
    sequences: [ 1, 3 ]
    scale { factor { scalar: 0.5 } }
  }
  outputs {
    logits { positions { indices { values: [ -1, 0 ] } } }
    log_probs {}
  }
)pb";

v1::RunSpec FourSequences() { return hookwire::testing::Spec(kRun); }

TEST(Passes, GiveTheBitsOfOneInReference) {
  Executor::Options options{.numerics = model::Numerics::kReference};
  const Finished one = RunToEnd(FourSequences(), TinyModel(), options);
  options.max_batch_tokens = 1;
  const Finished several = RunToEnd(FourSequences(), TinyModel(), options);
  ASSERT_EQ(several.output.tensors.size(), one.output.tensors.size());
  for (const auto& [index, tensor] : one.output.tensors) {
    EXPECT_TRUE(tensor.equal(several[index])) << index;
  }
  EXPECT_EQ(several.report.bytes, one.report.bytes);
  EXPECT_EQ(several.report.tensors, one.report.tensors);
}

TEST(Passes, AddUpToTheProgressOfOne) {
  const Finished several = RunToEnd(FourSequences(), TinyModel(), {.max_batch_tokens = 1});
  const std::vector<int>& progress = several.output.progress;
  EXPECT_TRUE(std::is_sorted(progress.begin(), progress.end()));
  EXPECT_EQ(progress.size(), 3u * static_cast<size_t>(several.plan->n_layers_run));
  EXPECT_EQ(progress.back(), several.plan->n_layers_run);
}

TEST(Passes, ReportNonFiniteElementsOfTheRightSequence) {
  v1::RunSpec spec = FourSequences();
  spec.clear_interventions();
  spec.set_allow_non_finite(true);
  v1::Intervention& op = *spec.add_interventions();
  op.set_hook("blocks.1.hook_out");
  op.add_sequences(3);
  op.mutable_set()->mutable_value()->set_scalar(std::numeric_limits<double>::quiet_NaN());
  const Finished several = RunToEnd(spec, TinyModel(), {.max_batch_tokens = 1});
  ASSERT_FALSE(several.report.non_finite.empty());
  std::vector<uint32_t> sequences;
  for (const NonFiniteCount& count : several.report.non_finite) sequences.push_back(count.sequence);
  EXPECT_THAT(sequences, Each(3u));
}

}  // namespace
}  // namespace hookwire::server
