// Rows that a run does not read leave its pass in the layers that reuse keys and values: what it
// does read is what it would be among all.
#include <ATen/ops/allclose.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/execute/run_tap.h"
#include "tests/unit/execute/recording_output.h"

namespace hookwire::server {
namespace {

using hookwire::testing::Finished;
using hookwire::testing::MustPlan;
using hookwire::testing::RecordingOutput;
using hookwire::testing::RunToEnd;
using hookwire::testing::Spec;
using hookwire::testing::TinyModel;
using hookwire::testing::Tokens;
using ::testing::ElementsAre;

constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
// Of six layers, the last two reuse keys and values.
constexpr int kFirstSharing = 4;

std::vector<int64_t> FirstRead(const std::string& text) {
  const auto plan = MustPlan(Spec(Tokens(9) + Tokens(7) + text));
  EXPECT_EQ(TinyModel().first_sharing_layer(), kFirstSharing);
  RecordingOutput output;
  hookwire::testing::BareContext context;
  Emitter emitter(*plan, output, context);
  const SequenceGroup group = GroupSequences(*plan, kNone).front();
  return RunTap(*plan, group, TinyModel().catalogue(), emitter).FirstRead(kFirstSharing);
}

TEST(FirstRead, IsThatOfCapturesAndChangesBehindTheLayer) {
  EXPECT_THAT(FirstRead("captures { hook: 'blocks.3.hook_out' }"), ElementsAre(kNone, kNone));
  EXPECT_THAT(FirstRead("captures { hook: 'blocks.4.hook_in' }"), ElementsAre(0, 0));
  EXPECT_THAT(FirstRead("captures { hook: 'blocks.5.hook_out' positions { indices { values: -1 } "
                        "} } captures { hook: 'blocks.*.attn.hook_pattern' sequences: 1 "
                        "positions { range { start: 2 step: 3 } } }"),
              ElementsAre(8, 2));
  EXPECT_THAT(FirstRead("captures { hook: 'ln_final.hook_out' positions { indices { values: [5, 3] "
                        "} } } interventions { hook: 'blocks.5.mlp.hook_out' sequences: 0 "
                        "positions { indices { values: 2 } } zero {} }"),
              ElementsAre(2, 3));
  EXPECT_THAT(FirstRead("captures { hook: 'hook_logits' sequences: 0 positions { indices { values: "
                        "-1 } } } interventions { hook: 'blocks.5.hook_in' sequences: 1 positions "
                        "{ indices { values: 4 } } copy { from_sequence: 0 } }"),
              ElementsAre(4, 4));
  // Keys are whole.
  EXPECT_THAT(FirstRead("captures { hook: 'blocks.5.attn.hook_rot_k' positions { indices { values: "
                        "-1 } } }"),
              ElementsAre(8, 6));
}

// The same run beside one more capture, for which all rows stay.
void ExpectAsAmongAll(const std::string& text) {
  SCOPED_TRACE(text);
  const std::string sequences = Tokens(9) + Tokens(7) + Tokens(9, 4) + Tokens(1);
  const Finished few = RunToEnd(Spec(sequences + text));
  const Finished all = RunToEnd(Spec(sequences + text + "captures { hook: 'blocks.4.hook_in' }"));
  std::vector<uint32_t> captures;
  for (const CapturePlan& group : few.plan->captures) {
    captures.insert(captures.end(), group.captures.begin(), group.captures.end());
  }
  ASSERT_FALSE(captures.empty());
  for (const uint32_t capture : captures) {
    for (int sequence = 0; sequence < 4; ++sequence) {
      EXPECT_TRUE(at::allclose(few.Captured(capture, sequence), all.Captured(capture, sequence),
                               1e-4, 1e-5))
          << "capture " << capture << " of sequence " << sequence;
    }
  }
  for (const OutputPlan& output : few.plan->outputs) {
    for (size_t s = 0; s < output.tensors.size(); ++s) {
      const OutputPlan& other = all.plan->outputs[&output - few.plan->outputs.data()];
      EXPECT_TRUE(
          at::allclose(few[output.tensors[s].index], all[other.tensors[s].index], 1e-4, 1e-5));
    }
  }
}

constexpr char kLast[] = " positions { indices { values: -1 } } ";

TEST(Unread, CapturesOfSomePositions) {
  for (const char* const hook :
       {"blocks.5.hook_out", "blocks.4.attn.hook_z", "blocks.5.attn.hook_pattern",
        "blocks.5.attn.hook_attn_scores", "blocks.4.attn.hook_result", "blocks.4.attn.hook_rot_k",
        "blocks.5.attn.hook_q_input", "blocks.5.hook_per_layer_input", "ln_final.hook_scale",
        "unembed.hook_out", "hook_logits"}) {
    const std::string last = absl::StrCat("captures { hook: '", hook, "'", kLast, "}");
    ExpectAsAmongAll(last);
    ExpectAsAmongAll(absl::StrCat(last, "captures { hook: 'blocks.*.hook_out'", kLast,
                                  "} outputs { logits {", kLast, "} }"));
  }
}

TEST(Unread, ChangesAtSomePositions) {
  for (const char* const op :
       {"scale { factor { scalar: 0.5 } }", "zero {}", "set { value { scalar: 0.25 } }"}) {
    for (const char* const hook :
         {"blocks.4.hook_in", "blocks.5.mlp.hook_out", "blocks.5.attn.hook_pattern",
          "blocks.5.attn.hook_attn_scores", "blocks.5.attn.hook_rot_v", "unembed.hook_out"}) {
      ExpectAsAmongAll(absl::StrCat("interventions { hook: '", hook, "'", kLast, op,
                                    "} captures { hook: 'hook_logits'", kLast, "}"));
    }
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
