// What a run changes, held against the same arithmetic on the tensors that it emits.
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/isneginf.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

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
using ::testing::IsEmpty;
using ::testing::SizeIs;

// A run that reads `hook` before (capture 0) and after (capture 1) the interventions.
v1::RunSpec Around(const std::string& hook, const std::string& interventions,
                   const std::string& more = "") {
  return Spec("captures { hook: '" + hook + "' moment: MOMENT_BEFORE } captures { hook: '" + hook +
              "' } " + interventions + more);
}

// A float32 value in text format.
std::string TensorValue(const std::vector<int64_t>& shape, const at::Tensor& numbers) {
  v1::Value value;
  value.mutable_tensor()->set_dtype(v1::DTYPE_FLOAT32);
  value.mutable_tensor()->mutable_shape()->Assign(shape.begin(), shape.end());
  const at::Tensor own = numbers.to(at::kFloat).contiguous();
  value.mutable_tensor()->set_data(
      std::string(static_cast<const char*>(own.const_data_ptr()), own.nbytes()));
  return value.ShortDebugString();
}

// Positions 0 and 2, head 1, features 3 … 6 of [pos, head, d_head].
constexpr char kWhere[] =
    "hook: 'blocks.0.attn.hook_z' positions { indices { values: [0, 2] } } "
    "heads { indices { values: 1 } } features { range { start: 3 stop: 7 } } ";

at::Tensor Where(const at::Tensor& z) {
  return z.slice(0, 0, 3, 2).slice(1, 1, 2).slice(2, 3, 7);  // [2, 1, 4]
}

struct OpCase {
  std::string op;
  void (*change)(at::Tensor);
};

TEST(Execute, AppliesEachOperationToTheSelectedElementsAlone) {
  const at::Tensor vector = at::ones({4}) * 0.3;
  const std::string value = TensorValue({4}, vector);
  const OpCase cases[] = {
      {"set { value { scalar: 0.1 } }", [](at::Tensor x) { x.fill_(0.1); }},
      {"add { value { scalar: 0.1 } }", [](at::Tensor x) { x.add_(0.1); }},
      {"scale { factor { scalar: 0.1 } }",
       [](at::Tensor x) { x.copy_(x.to(at::kFloat) * at::full({}, 0.1, at::kFloat)); }},
      {"zero {}", [](at::Tensor x) { x.zero_(); }},
      {"set { value { " + value + " } }", [](at::Tensor x) { x.copy_(at::ones({4}) * 0.3); }},
      {"add { value { " + value + " } }",
       [](at::Tensor x) { x.add_((at::ones({4}) * 0.3).to(x.scalar_type())); }},
      {"scale { factor { " + value + " } }",
       [](at::Tensor x) { x.mul_((at::ones({4}) * 0.3).to(x.scalar_type())); }},
  };
  for (const char* dtype : {"float32", "bfloat16"}) {
    for (const OpCase& one : cases) {
      const Finished run = RunToEnd(
          Around("blocks.0.attn.hook_z", "interventions { " + std::string(kWhere) + one.op + " }"),
          TinyModel(TinyVariant::kEType, dtype));
      for (int s = 0; s < 2; ++s) {
        at::Tensor expected = run.Captured(0, s).clone();
        one.change(Where(expected));
        EXPECT_TRUE(at::equal(run.Captured(1, s), expected)) << dtype << " " << one.op;
        EXPECT_FALSE(at::equal(run.Captured(0, s), expected));
      }
    }
  }
}

TEST(Execute, AppliesOperationsToListsOfIndices) {
  const Finished run = RunToEnd(Around("blocks.0.attn.hook_z", R"pb(
    interventions {
      hook: "blocks.0.attn.hook_z"
      sequences: 0
      positions { indices { values: [ 4, 0, 1 ] } }
      heads { indices { values: [ 3, 0, 2 ] } }
      add { value { scalar: 1 } }
    }
  )pb"));
  at::Tensor expected = run.Captured(0, 0).clone();
  for (const int64_t position : {4, 0, 1}) {
    for (const int64_t head : {3, 0, 2}) expected[position][head].add_(1);
  }
  EXPECT_TRUE(at::equal(run.Captured(1, 0), expected));
  EXPECT_TRUE(at::equal(run.Captured(1, 1), run.Captured(0, 1)));
}

TEST(Execute, AppliesOperationsInTheOrderOfTheRequest) {
  const std::string scale = "interventions { hook: 'hook_embed' scale { factor { scalar: 2 } } }";
  const std::string add = "interventions { hook: 'hook_embed' add { value { scalar: 1 } } }";
  const Finished scale_first = RunToEnd(Around("hook_embed", scale + add));
  EXPECT_TRUE(at::equal(scale_first.Captured(1, 0), scale_first.Captured(0, 0) * 2 + 1));
  const Finished add_first = RunToEnd(Around("hook_embed", add + scale));
  EXPECT_TRUE(at::equal(add_first.Captured(1, 0), (add_first.Captured(0, 0) + 1) * 2));
}

TEST(Execute, LetsEveryLaterReaderSeeTheChange) {
  const Finished run = RunToEnd(Around("blocks.1.hook_out",
                                       "interventions { hook: 'blocks.1.hook_out' sequences: 0 "
                                       "scale { factor { scalar: 3 } } }",
                                       "captures { hook: 'blocks.2.hook_in' }"));
  EXPECT_TRUE(at::equal(run.Captured(1, 0), run.Captured(0, 0) * 3));
  EXPECT_TRUE(at::equal(run.Captured(2, 0), run.Captured(1, 0)));
  EXPECT_TRUE(at::equal(run.Captured(2, 1), run.Captured(0, 1)));
}

TEST(Execute, ChangesLogitsThatAreReturned) {
  const Finished run = RunToEnd(Spec(R"pb(
    interventions {
      hook: "hook_logits"
      set { value { scalar: 0 } }
    }
    outputs {
      logits { positions { indices { values: -1 } } }
      log_probs {}
    }
  )pb"));
  EXPECT_TRUE(at::equal(run[0], at::zeros_like(run[0])));
  EXPECT_NEAR(run[2][0].item<float>(), -std::log(48.0), 1e-5);
}

TEST(Execute, CopiesBetweenSequencesOfDifferentLengths) {
  const Finished run = RunToEnd(Around("blocks.2.hook_out", R"pb(
    interventions {
      hook: "blocks.2.hook_out"
      sequences: 0
      positions { range { start: -2 } }
      copy { from_sequence: 1 }
    }
  )pb"));
  at::Tensor expected = run.Captured(0, 0).clone();            // [5, d_model]
  expected.slice(0, 3).copy_(run.Captured(0, 1).slice(0, 1));  // of [3, d_model]
  EXPECT_TRUE(at::equal(run.Captured(1, 0), expected));
  EXPECT_TRUE(at::equal(run.Captured(1, 1), run.Captured(0, 1)));
}

TEST(Execute, CopiesWhatTheSourceIsAtThatPointOfTheList) {
  const std::string last = "positions { indices { values: -1 } }";
  const std::string scale =
      "interventions { hook: 'hook_embed' sequences: 1 scale { factor { scalar: 2 } } }";
  const std::string copy =
      "interventions { hook: 'hook_embed' " + last + " copy { from_sequence: 1 } }";
  const Finished scaled = RunToEnd(Around("hook_embed", scale + copy));
  EXPECT_TRUE(at::equal(scaled.Captured(1, 0)[4], scaled.Captured(0, 1)[2] * 2));
  const Finished unscaled = RunToEnd(Around("hook_embed", copy + scale));
  EXPECT_TRUE(at::equal(unscaled.Captured(1, 0)[4], unscaled.Captured(0, 1)[2]));
  EXPECT_TRUE(at::equal(unscaled.Captured(1, 1), unscaled.Captured(0, 1) * 2));
}

TEST(Execute, CopiesFromASequenceThatNobodyReads) {
  const std::string copy =
      "interventions { hook: 'blocks.0.hook_out' positions { indices { values: 0 } } sequences: 0 "
      "copy { from_sequence: 1 } }";
  const Finished run =
      RunToEnd(Spec("captures { hook: 'blocks.0.hook_out' sequences: 0 } " + copy));
  const Finished whole = RunToEnd(Spec("captures { hook: 'blocks.0.hook_out' }"));
  EXPECT_TRUE(at::equal(run.Captured(0, 0)[0], whole.Captured(0, 1)[0]));
}

TEST(Execute, ChangesEveryWritableHookPointOfEveryVariant) {
  for (const TinyVariant variant :
       {TinyVariant::kEType, TinyVariant::kDense, TinyVariant::kMoe, TinyVariant::kUnified}) {
    for (const char* dtype : {"float32", "bfloat16"}) {
      const model::TextModel& model = TinyModel(variant, dtype);
      for (const model::HookPoint& point : model.catalogue().points()) {
        if (!point.writable) continue;
        const Finished run = RunToEnd(
            Around(point.name,
                   "interventions { hook: '" + point.name + "' scale { factor { scalar: 0.5 } } }",
                   "outputs { logits {} }"),
            model);
        EXPECT_TRUE(at::equal(run.Captured(1, 0), run.Captured(0, 0) * 0.5)) << point.name;
      }
    }
  }
}

// Attention scores.

constexpr char kScores[] = "blocks.0.attn.hook_attn_scores";  // sliding window of 4

TEST(Execute, LeavesMaskedScoresOut) {
  for (const char* op : {"zero {}", "scale { factor { scalar: 0 } }", "add { value { scalar: 5 } }",
                         "set { value { scalar: 7 } }"}) {
    const Finished run = RunToEnd(
        Around(kScores, "interventions { hook: '" + std::string(kScores) + "' " + op + " }"));
    const at::Tensor mask = at::isneginf(run.Captured(0, 0));
    // Above the diagonal, and one entry outside the window.
    EXPECT_EQ(mask[0].sum().item<int64_t>(), 10 + 1);
    EXPECT_TRUE(at::equal(at::isneginf(run.Captured(1, 0)), mask)) << op;
    EXPECT_THAT(run.report.non_finite, IsEmpty()) << op;
  }
}

TEST(Execute, KnocksAttentionOut) {
  const Finished run = RunToEnd(Around(kScores,
                                       "interventions { hook: 'blocks.0.attn.hook_attn_scores' "
                                       "sequences: 0 positions { indices { values: 4 } } "
                                       "features { indices { values: 2 } } "
                                       "set { value { scalar: -inf } } }",
                                       "captures { hook: 'blocks.0.attn.hook_pattern' }"));
  at::Tensor expected = run.Captured(0, 0).clone();
  expected.select(1, 4).select(1, 2).fill_(-INFINITY);
  EXPECT_TRUE(at::equal(run.Captured(1, 0), expected));
  const at::Tensor& pattern = run.Captured(2, 0);  // [head, pos, key_pos]
  for (int64_t head = 0; head < 4; ++head) {
    EXPECT_EQ(pattern[head][4][2].item<float>(), 0.0F);
    EXPECT_NEAR(pattern[head][4].sum().item<float>(), 1.0F, 1e-5);
  }
  // These −inf are no masked ones: four heads of one entry each.
  ASSERT_THAT(run.report.non_finite, SizeIs(1));
  EXPECT_EQ(run.report.non_finite[0].hook, kScores);
  EXPECT_EQ(run.report.non_finite[0].inf, 4u);
}

TEST(Execute, CountsNonFiniteElements) {
  const Finished run = RunToEnd(Spec(R"pb(
    allow_non_finite: true
    interventions {
      hook: "blocks.5.hook_out"
      sequences: 1
      positions { indices { values: -1 } }
      features { range { stop: 3 } }
      set { value { scalar: nan } }
    }
    interventions {
      hook: "blocks.5.hook_out"
      sequences: 0
      positions { indices { values: 0 } }
      features { indices { values: 0 } }
      set { value { scalar: inf } }
    }
    captures { hook: "blocks.5.hook_in" }
    captures { hook: "blocks.5.hook_out" }
    outputs {
      logits {}
      log_probs {}
    }
  )pb"));
  const auto& found = run.report.non_finite;
  ASSERT_GE(found.size(), size_t{4});
  EXPECT_EQ(found[0].hook, "blocks.5.hook_out");
  EXPECT_EQ(found[0].sequence, 0u);
  EXPECT_EQ(found[0].nan, 0u);
  EXPECT_EQ(found[0].inf, 1u);
  EXPECT_EQ(found[1].hook, "blocks.5.hook_out");
  EXPECT_EQ(found[1].sequence, 1u);
  EXPECT_EQ(found[1].nan, 3u);
  EXPECT_EQ(found[1].inf, 0u);
  EXPECT_EQ(found[2].hook, "logits");
  EXPECT_EQ(found[3].hook, "logits");
  EXPECT_EQ(found[3].sequence, 1u);
  // One position of the three, all words.
  EXPECT_EQ(found[3].nan, 48u);
}

}  // namespace
}  // namespace hookwire::server
