// TextModel::DropUnread: rows that nothing reads are dropped before the layers that share keys and
// values.
#include <ATen/ops/allclose.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "model/text/text_model.h"
#include "tests/unit/model/recording_tap.h"
#include "tests/unit/support/tiny_checkpoint.h"
#include "tests/unit/support/tiny_model.h"

namespace hookwire::model {
namespace {

using hookwire::testing::FinishAll;
using hookwire::testing::Pass;
using hookwire::testing::RecordingTap;
using hookwire::testing::Sequences;
using hookwire::testing::ThreeSequences;
using hookwire::testing::TinyModel;
using hookwire::testing::TinyVariant;

std::vector<int64_t> Lengths(const PassState& state) {
  std::vector<int64_t> lengths;
  for (int s = 0; s < state.layout.n_sequences(); ++s) {
    lengths.push_back(state.layout.span(s).length);
  }
  return lengths;
}

class DropUnread : public ::testing::Test {
 protected:
  // A pass up to the first sharing layer.
  PassState Half(const Sequences& sequences, Tap& tap, Numerics numerics = Numerics::kFast) const {
    PassState state = model_.Begin(sequences, numerics, tap).value();
    EXPECT_TRUE(model_.RunLayers(state, model_.first_sharing_layer(), tap).ok());
    return state;
  }

  // The rest of it. Each sequence's logits of `rows` are what a whole pass gives there.
  void ExpectTheSameFrom(PassState& state, const Sequences& sequences, const Sequences& rows,
                         Tap& tap) const {
    ASSERT_TRUE(model_.RunLayers(state, model_.config().n_layers(), tap).ok());
    const std::vector<at::Tensor> logits = FinishAll(model_, state, rows, tap).value();
    const std::vector<at::Tensor> whole = Pass(model_, sequences, Numerics::kFast);
    for (size_t s = 0; s < rows.size(); ++s) {
      for (size_t i = 0; i < rows[s].size(); ++i) {
        const auto row = static_cast<int64_t>(i);
        EXPECT_TRUE(at::allclose(logits[s][row], whole[s][rows[s][i]], 1e-4, 1e-5))
            << "sequence " << s << ", position " << rows[s][i];
      }
    }
  }

  const TextModel& model_ = TinyModel(TinyVariant::kEType);
};

TEST_F(DropUnread, OnlyTheRowsFromTheFirstReadGoOn) {
  RecordingTap nobody(model_.catalogue());
  PassState state = Half(ThreeSequences(), nobody);
  ASSERT_TRUE(model_.DropUnread(state, {4, 3, 0}).ok());
  EXPECT_EQ(Lengths(state), (std::vector<int64_t>{1, 4, 1}));
  EXPECT_EQ(state.hidden[0].size(0), 6);
  EXPECT_EQ(state.layout.span(1).position, 3);
  ExpectTheSameFrom(state, ThreeSequences(), {{4}, {6, 3}, {0}}, nobody);
}

TEST_F(DropUnread, SequencesOfOneLengthGoOnTogether) {
  const Sequences sequences(3, ThreeSequences()[1]);
  RecordingTap nobody(model_.catalogue());
  PassState state = Half(sequences, nobody);
  ASSERT_TRUE(model_.DropUnread(state, {6, 6, 6}).ok());
  EXPECT_TRUE(state.layout.IsUniform());
  ExpectTheSameFrom(state, sequences, {{6}, {6}, {6}}, nobody);
}

// Two sequences with equally many rows left, and different numbers of keys.
TEST_F(DropUnread, RowsOfSequencesOfOtherLengthsAreToldApart) {
  RecordingTap nobody(model_.catalogue());
  PassState state = Half(ThreeSequences(), nobody);
  ASSERT_TRUE(model_.DropUnread(state, {4, 6, 0}).ok());
  EXPECT_FALSE(state.layout.IsUniform());
  ExpectTheSameFrom(state, ThreeSequences(), {{4}, {6}, {0}}, nobody);
}

TEST_F(DropUnread, HookPointsShowWhatIsLeft) {
  const std::string layer = "blocks." + std::to_string(model_.first_sharing_layer());
  // The axis of positions of each.
  const std::pair<std::string, int> names[] = {{layer + ".hook_in", 0},
                                               {layer + ".attn.hook_pattern", 1},
                                               {layer + ".attn.hook_attn_scores", 1},
                                               {layer + ".attn.hook_result", 0},
                                               {layer + ".attn.hook_q_input", 0},
                                               {"ln_final.hook_out", 0},
                                               {"unembed.hook_out", 0}};
  for (const auto& [name, axis] : names) {
    SCOPED_TRACE(name);
    RecordingTap tap(model_.catalogue());
    tap.Read(name, {1});
    PassState state = Half(ThreeSequences(), tap);
    ASSERT_TRUE(model_.DropUnread(state, {4, 3, 0}).ok());
    ExpectTheSameFrom(state, ThreeSequences(), {{4}, {6, 3}, {0}}, tap);
    RecordingTap whole(model_.catalogue());
    whole.Read(name, {1});
    Pass(model_, ThreeSequences(), Numerics::kFast, whole);
    EXPECT_TRUE(
        at::allclose(tap.Seen(name, 1), whole.Seen(name, 1).narrow(axis, 3, 4), 1e-4, 1e-5));
  }
}

TEST_F(DropUnread, KeysAndValuesStayWhole) {
  const std::string layer = "blocks." + std::to_string(model_.first_sharing_layer());
  for (const std::string& name : {layer + ".attn.hook_rot_k", layer + ".attn.hook_rot_v"}) {
    RecordingTap tap(model_.catalogue());
    tap.Read(name, {1});
    PassState state = Half(ThreeSequences(), tap);
    ASSERT_TRUE(model_.DropUnread(state, {4, 6, 0}).ok());
    ExpectTheSameFrom(state, ThreeSequences(), {{4}, {6}, {0}}, tap);
    EXPECT_EQ(tap.Seen(name, 1).size(0), 7);
  }
}

TEST_F(DropUnread, ASequenceKeepsItsLastRow) {
  RecordingTap nobody(model_.catalogue());
  PassState state = Half(ThreeSequences(), nobody);
  ASSERT_TRUE(model_.DropUnread(state, {100, 7, 0}).ok());
  EXPECT_EQ(Lengths(state), (std::vector<int64_t>{1, 1, 1}));
}

TEST_F(DropUnread, WhatWasReadBeforeDoesNotKeepThem) {
  RecordingTap tap(model_.catalogue());
  tap.Read("hook_embed").Read("blocks.0.hook_out");
  PassState state = Half(ThreeSequences(), tap);
  ASSERT_TRUE(model_.DropUnread(state, {4, 6, 0}).ok());
  EXPECT_EQ(Lengths(state), (std::vector<int64_t>{1, 1, 1}));
}

TEST_F(DropUnread, SequencesMayLeaveAfterwards) {
  RecordingTap nobody(model_.catalogue());
  PassState state = Half(ThreeSequences(), nobody);
  ASSERT_TRUE(model_.DropUnread(state, {4, 5, 0}).ok());
  ASSERT_TRUE(TextModel::Keep(state, {1, 2}).ok());
  EXPECT_EQ(Lengths(state), (std::vector<int64_t>{2, 1}));
  ExpectTheSameFrom(state, {ThreeSequences()[1], ThreeSequences()[2]}, {{6, 5}, {0}}, nobody);
}

TEST_F(DropUnread, NothingLeavesInReference) {
  RecordingTap nobody(model_.catalogue());
  PassState state = Half(ThreeSequences(), nobody, Numerics::kReference);
  ASSERT_TRUE(model_.DropUnread(state, {4, 6, 0}).ok());
  EXPECT_EQ(Lengths(state), (std::vector<int64_t>{5, 7, 1}));
}

TEST_F(DropUnread, NothingLeavesWhereLayersMakeTheirOwnKeys) {
  RecordingTap nobody(model_.catalogue());
  PassState state = model_.Begin(ThreeSequences(), Numerics::kFast, nobody).value();
  ASSERT_TRUE(model_.DropUnread(state, {4, 6, 0}).ok());
  EXPECT_EQ(Lengths(state), (std::vector<int64_t>{5, 7, 1}));

  const TextModel& dense = TinyModel(TinyVariant::kDense);
  RecordingTap tap(dense.catalogue());
  state = dense.Begin(ThreeSequences(), Numerics::kFast, tap).value();
  ASSERT_TRUE(dense.RunLayers(state, dense.first_sharing_layer(), tap).ok());
  EXPECT_EQ(state.next_layer, dense.config().n_layers());
  ASSERT_TRUE(dense.DropUnread(state, {4, 6, 0}).ok());
  EXPECT_EQ(Lengths(state), (std::vector<int64_t>{5, 7, 1}));
}

}  // namespace
}  // namespace hookwire::model
