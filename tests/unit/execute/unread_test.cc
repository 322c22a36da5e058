// Rows that a run does not read any more leave its pass: what it does read is what it would be
// among all.
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/execute/run_tap.h"
#include "tests/unit/execute/recording_output.h"
#include "tests/unit/support/tiny_model.h"

namespace hookwire::server {
namespace {

using hookwire::testing::Finished;
using hookwire::testing::MustPlan;
using hookwire::testing::RecordingOutput;
using hookwire::testing::RunToEnd;
using hookwire::testing::Spec;
using hookwire::testing::TinyModel;
using hookwire::testing::Tokens;
using ::testing::UnorderedElementsAre;

constexpr int64_t kAnyTokens = std::numeric_limits<int64_t>::max();
constexpr char kLast[] = " positions { indices { values: -1 } } ";

// What a run of 9 and 7 tokens reads, as "name sequence begin:end".
std::vector<std::string> Reads(const std::string& text) {
  const auto plan = MustPlan(Spec(Tokens(9) + Tokens(7) + text));
  RecordingOutput output;
  hookwire::testing::BareContext context;
  Emitter emitter(*plan, output, context);
  const SequenceGroup group = GroupSequences(*plan, kAnyTokens).front();
  const model::Catalogue& catalogue = TinyModel().catalogue();
  const RunTap tap(*plan, group, catalogue, emitter);
  std::vector<std::string> reads;
  EXPECT_TRUE(tap.ForEachRead([&](int sequence, model::HookId hook, model::RowRange rows) {
    reads.push_back(
        absl::StrCat(catalogue.point(hook).name, " ", sequence, " ", rows.begin, ":", rows.end));
  }));
  return reads;
}

TEST(Reads, AreTheRowsOfCapturesAndChanges) {
  EXPECT_THAT(Reads("captures { hook: 'blocks.4.hook_in' }"),
              UnorderedElementsAre("blocks.4.hook_in 0 0:9", "blocks.4.hook_in 1 0:7"));
  EXPECT_THAT(Reads(absl::StrCat("captures { hook: 'blocks.5.hook_out'", kLast, "}")),
              UnorderedElementsAre("blocks.5.hook_out 0 8:9", "blocks.5.hook_out 1 6:7"));
  EXPECT_THAT(
      Reads("captures { hook: 'blocks.3.attn.hook_pattern' sequences: 1 positions { range { "
            "start: 2 step: 3 } } }"),
      UnorderedElementsAre("blocks.3.attn.hook_pattern 1 2:6"));
  EXPECT_THAT(
      Reads("captures { hook: 'ln_final.hook_out' sequences: 0 positions { indices { values: "
            "[5, 3] } } } interventions { hook: 'blocks.5.mlp.hook_out' sequences: 0 "
            "positions { indices { values: 2 } } zero {} }"),
      UnorderedElementsAre("ln_final.hook_out 0 3:6", "blocks.5.mlp.hook_out 0 2:3"));
  EXPECT_THAT(
      Reads("captures { hook: 'hook_logits' sequences: 1 positions { indices { values: -1 } "
            "} } interventions { hook: 'blocks.5.hook_in' sequences: 1 positions { indices "
            "{ values: 4 } } copy { from_sequence: 0 } }"),
      UnorderedElementsAre("hook_logits 1 6:7", "blocks.5.hook_in 1 4:5",
                           "blocks.5.hook_in 0 4:5"));
}

TEST(Reads, AreTheRowsOfOutputs) {
  EXPECT_THAT(Reads(absl::StrCat("outputs { logits {", kLast, "} }")),
              UnorderedElementsAre("ln_final.hook_in 0 8:9", "ln_final.hook_in 1 6:7"));
  EXPECT_THAT(
      Reads("outputs { log_probs { targets { positions: [2, 5] token_ids: [1, 1] } targets {} "
            "} }"),
      UnorderedElementsAre("ln_final.hook_in 0 2:3", "ln_final.hook_in 0 5:6"));
  EXPECT_THAT(Reads("stop_at_layer: 3 outputs { residual: true }"),
              UnorderedElementsAre("blocks.3.hook_in 0 0:9", "blocks.3.hook_in 1 0:7"));
  EXPECT_THAT(Reads("stop_at_layer: 6 outputs { residual: true }"),
              UnorderedElementsAre("ln_final.hook_in 0 0:9", "ln_final.hook_in 1 0:7"));
}

// The model of the run in `invariant` numerics.
const model::TextModel& InvariantModel() {
  static const auto* model = [] {
    model::TextModel::Options load;
    load.invariant = true;
    return hookwire::testing::MakeTinyModel({}, load).release();
  }();
  return *model;
}

// The same run beside one more capture, for which all rows stay to the end.
void ExpectAsAmongAll(const std::string& text, model::Numerics numerics) {
  SCOPED_TRACE(text);
  const bool invariant = numerics == model::Numerics::kInvariant;
  const model::TextModel& model = invariant ? InvariantModel() : TinyModel();
  const auto same = [invariant](const at::Tensor& a, const at::Tensor& b) {
    return invariant ? at::equal(a, b) : at::allclose(a, b, 1e-4, 1e-5);
  };
  const std::string sequences = Tokens(9) + Tokens(7) + Tokens(9, 4) + Tokens(1);
  const Executor::Options options = {.numerics = numerics};
  const Finished few = RunToEnd(Spec(sequences + text), model, options);
  const Finished all =
      RunToEnd(Spec(sequences + text + "captures { hook: 'ln_final.hook_in' }"), model, options);
  ASSERT_FALSE(few.plan->captures.empty());
  for (const CapturePlan& capture : few.plan->captures) {
    const auto other = std::find_if(
        all.plan->captures.begin(), all.plan->captures.end(), [&](const CapturePlan& beside) {
          return beside.hook == capture.hook && beside.captures == capture.captures;
        });
    ASSERT_NE(other, all.plan->captures.end());
    for (size_t i = 0; i < capture.tensors.size(); ++i) {
      EXPECT_TRUE(same(few[capture.tensors[i].index], all[other->tensors[i].index]))
          << capture.names.front() << " of sequence " << capture.tensors[i].slice.sequence;
    }
  }
  for (const OutputPlan& output : few.plan->outputs) {
    for (size_t s = 0; s < output.tensors.size(); ++s) {
      const OutputPlan& other = all.plan->outputs[&output - few.plan->outputs.data()];
      EXPECT_TRUE(same(few[output.tensors[s].index], all[other.tensors[s].index]));
    }
  }
}

void ExpectAsAmongAll(const std::string& text) {
  ExpectAsAmongAll(text, model::Numerics::kFast);
  ExpectAsAmongAll(text, model::Numerics::kInvariant);
}

TEST(Unread, CapturesOfSomePositions) {
  for (const char* const hook :
       {"blocks.5.hook_out", "blocks.4.attn.hook_z", "blocks.3.attn.k.hook_out",
        "blocks.3.attn.q.hook_out", "blocks.3.ln2.hook_scale", "blocks.2.attn.hook_pattern",
        "blocks.1.mlp.hook_in", "hook_embed", "blocks.5.attn.hook_pattern",
        "blocks.5.attn.hook_attn_scores", "blocks.4.attn.hook_result", "blocks.4.attn.hook_rot_k",
        "blocks.5.attn.hook_q_input", "blocks.5.hook_per_layer_input", "ln_final.hook_scale",
        "unembed.hook_out", "hook_logits"}) {
    const std::string last = absl::StrCat("captures { hook: '", hook, "'", kLast, "}");
    ExpectAsAmongAll(last);
    ExpectAsAmongAll(absl::StrCat("captures { hook: '", hook,
                                  "' sequences: [0, 1] positions { indices { values: "
                                  "[4, 2] } } }"));
    ExpectAsAmongAll(absl::StrCat(last, "captures { hook: 'blocks.*.hook_out'", kLast,
                                  "} outputs { logits {", kLast, "} }"));
  }
}

TEST(Unread, ChangesAtSomePositions) {
  for (const char* const op :
       {"scale { factor { scalar: 0.5 } }", "zero {}", "set { value { scalar: 0.25 } }"}) {
    for (const char* const hook :
         {"blocks.2.hook_in", "blocks.3.attn.k.hook_out", "blocks.3.attn.hook_z",
          "blocks.4.hook_in", "blocks.5.mlp.hook_out", "blocks.5.attn.hook_pattern",
          "blocks.5.attn.hook_attn_scores", "blocks.5.attn.hook_rot_v", "unembed.hook_out"}) {
      ExpectAsAmongAll(absl::StrCat("interventions { hook: '", hook, "'", kLast, op,
                                    "} captures { hook: 'hook_logits'", kLast, "}"));
    }
  }
}

// Not `zero`, after which little but the rounding of the heads' sum is left.
TEST(Unread, ChangesOfHeadResults) {
  for (const char* const layer : {"2", "3", "5"}) {
    ExpectAsAmongAll(absl::StrCat("interventions { hook: 'blocks.", layer, ".attn.hook_result'",
                                  kLast, "scale { factor { scalar: 0.5 } } } outputs { logits {",
                                  kLast, "} } captures { hook: 'ln_final.hook_out'", kLast, "}"));
  }
}

TEST(Unread, CopiesBetweenSequencesOfOneLength) {
  ExpectAsAmongAll(absl::StrCat(
      "interventions { hook: 'blocks.5.hook_resid_mid' sequences: 0 positions { indices { values: "
      "[7, 8] } } copy { from_sequence: 2 } } captures { hook: 'hook_logits'",
      kLast, "}"));
}

}  // namespace
}  // namespace hookwire::server
