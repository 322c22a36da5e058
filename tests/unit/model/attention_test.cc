#include "model/nn/attention.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/model/random_tensor.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::MaxDifference;
using ::hookwire::testing::RandomTensor;
using ::testing::ElementsAre;

// Attention written out in double: q [queries, head, d_head], k and v [keys, key_value_head,
// d_head] -> [queries, head, d_head].
at::Tensor Oracle(const at::Tensor& q_in, const at::Tensor& k_in, const at::Tensor& v_in,
                  const Visibility& visibility) {
  const at::Tensor q = q_in.to(at::kDouble).contiguous();
  const at::Tensor k = k_in.to(at::kDouble).contiguous();
  const at::Tensor v = v_in.to(at::kDouble).contiguous();
  at::Tensor out = at::zeros(q.sizes(), at::kDouble);
  const auto aq = q.accessor<double, 3>();
  const auto ak = k.accessor<double, 3>();
  const auto av = v.accessor<double, 3>();
  auto aout = out.accessor<double, 3>();
  const int64_t group = q.size(1) / k.size(1);
  for (int64_t i = 0; i < q.size(0); ++i) {
    const int64_t at = visibility.first_query + i;
    const int64_t first =
        visibility.window > 0 ? std::max<int64_t>(0, at - visibility.window + 1) : 0;
    for (int64_t head = 0; head < q.size(1); ++head) {
      std::vector<double> weights;
      double sum = 0;
      for (int64_t j = first; j <= at; ++j) {
        double score = 0;
        for (int64_t d = 0; d < q.size(2); ++d) score += aq[i][head][d] * ak[j][head / group][d];
        weights.push_back(std::exp(score));
        sum += weights.back();
      }
      for (int64_t j = first; j <= at; ++j) {
        for (int64_t d = 0; d < q.size(2); ++d) {
          aout[i][head][d] +=
              weights[static_cast<size_t>(j - first)] / sum * av[j][head / group][d];
        }
      }
    }
  }
  return out;
}

at::Tensor InSteps(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                   const Visibility& visibility) {
  const at::Tensor visible = VisibleMask(q.size(0), k.size(0), visibility, at::kCPU);
  return MixValues(AttentionPattern(AttentionScores(q, k, visible)), v);
}

struct Case {
  std::string name;
  int64_t queries;
  int64_t keys;
  int64_t heads;
  int64_t key_value_heads;
  int64_t d_head;
  Visibility visibility;
};

class Attention : public ::testing::TestWithParam<Case> {
 protected:
  // Scores of unit size, as those behind Gemma 4's norms are.
  at::Tensor Queries(int64_t n, unsigned seed) const {
    const Case& at = GetParam();
    return RandomTensor({n, at.heads, at.d_head}, seed) / std::sqrt(static_cast<double>(at.d_head));
  }
  at::Tensor Keys(int64_t n, unsigned seed) const {
    return RandomTensor({n, GetParam().key_value_heads, GetParam().d_head}, seed);
  }
};

TEST_P(Attention, InStepsIsTheFormula) {
  const Case& at = GetParam();
  const at::Tensor q = Queries(at.queries, 1);
  const at::Tensor k = Keys(at.keys, 2);
  const at::Tensor v = Keys(at.keys, 3);
  const at::Tensor mixed = InSteps(q, k, v, at.visibility);
  EXPECT_TRUE(mixed.is_contiguous());
  EXPECT_LT(MaxDifference(mixed, Oracle(q, k, v, at.visibility)), 1e-5);
}

TEST_P(Attention, FusedIsTheFormula) {
  const Case& at = GetParam();
  const at::Tensor q = Queries(at.queries, 1);
  const at::Tensor k = Keys(at.keys, 2);
  const at::Tensor v = Keys(at.keys, 3);
  const at::Tensor mixed = FusedAttention(q, k, v, 1, at.visibility);
  EXPECT_TRUE(mixed.is_contiguous());
  EXPECT_LT(MaxDifference(mixed, Oracle(q, k, v, at.visibility)), 1e-5);
}

TEST_P(Attention, FusedKeepsSequencesOfABatchApart) {
  const Case& at = GetParam();
  const at::Tensor q = Queries(3 * at.queries, 1);
  const at::Tensor k = Keys(3 * at.keys, 2);
  const at::Tensor v = Keys(3 * at.keys, 3);
  const at::Tensor mixed = FusedAttention(q, k, v, 3, at.visibility);
  ASSERT_EQ(mixed.sizes(), q.sizes());
  for (int64_t s = 0; s < 3; ++s) {
    const at::Tensor alone =
        Oracle(q.narrow(0, s * at.queries, at.queries), k.narrow(0, s * at.keys, at.keys),
               v.narrow(0, s * at.keys, at.keys), at.visibility);
    EXPECT_LT(MaxDifference(mixed.narrow(0, s * at.queries, at.queries), alone), 1e-5) << s;
  }
}

TEST_P(Attention, InBfloat16IsCloseToTheFormula) {
  const Case& at = GetParam();
  const at::Tensor q = Queries(at.queries, 1).to(at::kBFloat16);
  const at::Tensor k = Keys(at.keys, 2).to(at::kBFloat16);
  const at::Tensor v = Keys(at.keys, 3).to(at::kBFloat16);
  const at::Tensor expected = Oracle(q, k, v, at.visibility);
  for (const at::Tensor& mixed :
       {InSteps(q, k, v, at.visibility), FusedAttention(q, k, v, 1, at.visibility)}) {
    EXPECT_EQ(mixed.scalar_type(), at::kBFloat16);
    EXPECT_LT(MaxDifference(mixed, expected), 0.06);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, Attention,
    ::testing::Values(
        Case{"OneToken", 1, 1, 4, 2, 8, {}}, Case{"Causal", 9, 9, 4, 4, 8, {}},
        Case{"Grouped", 9, 9, 4, 2, 8, {}}, Case{"OneKeyValueHead", 9, 9, 4, 1, 16, {}},
        Case{"Window", 9, 9, 4, 2, 8, {.window = 4}},
        Case{"WindowOfOne", 5, 5, 2, 2, 8, {.window = 1}},
        Case{"WindowAsLongAsTheSequence", 5, 5, 2, 1, 8, {.window = 5}},
        Case{"WindowOneShorter", 6, 6, 2, 1, 8, {.window = 5}},
        Case{"WindowLongerThanTheSequence", 5, 5, 2, 1, 8, {.window = 64}},
        Case{"WideHeads", 7, 7, 8, 2, 512, {}},
        Case{"WideHeadsWindow", 7, 7, 8, 2, 512, {.window = 3}},
        Case{"FewerQueries", 3, 9, 4, 2, 8, {.first_query = 6}},
        Case{"OneQuery", 1, 9, 4, 2, 8, {.first_query = 8}},
        Case{"OneQueryInTheMiddle", 1, 9, 4, 2, 8, {.first_query = 4}},
        Case{"FirstQueries", 3, 9, 4, 2, 8, {}},
        Case{"QueriesInTheMiddle", 3, 9, 4, 2, 8, {.first_query = 2}},
        Case{"FewerQueriesWindow", 3, 9, 4, 2, 8, {.window = 4, .first_query = 6}},
        Case{"FewerQueriesWindowNotReached", 3, 9, 4, 2, 8, {.window = 64, .first_query = 6}},
        Case{"Long", 200, 200, 2, 1, 32, {.window = 64}},
        Case{"LongInBlocks", 700, 700, 2, 1, 8, {.window = 150}},
        Case{"LongInBlocksLongerThanTheWindow", 300, 300, 2, 1, 8, {.window = 5}},
        Case{"LongInBlocksFewerQueries", 300, 420, 2, 2, 8, {.window = 64, .first_query = 120}}),
    [](const auto& info) { return info.param.name; });

TEST(VisibleMask, ShowsWhatCameBeforeWithinTheWindow) {
  for (const int64_t window : {0, 1, 3, 100}) {
    for (const int64_t first : {0, 2}) {
      const at::Tensor mask = VisibleMask(4, 6, {.window = window, .first_query = first}, at::kCPU);
      ASSERT_THAT(mask.sizes(), ElementsAre(4, 6));
      for (int64_t i = 0; i < 4; ++i) {
        for (int64_t j = 0; j < 6; ++j) {
          const int64_t at = first + i;
          const bool expected = j <= at && (window == 0 || at - j < window);
          EXPECT_EQ(mask[i][j].item<bool>(), expected) << window << first << i << j;
        }
      }
    }
  }
}

TEST(AttentionScores, HideTheUnseenWithMinusInfinity) {
  const at::Tensor q = RandomTensor({4, 2, 8}, 1);
  const at::Tensor k = RandomTensor({4, 1, 8}, 2);
  const at::Tensor visible = VisibleMask(4, 4, {.window = 2}, at::kCPU);
  const at::Tensor scores = AttentionScores(q, k, visible);
  ASSERT_THAT(scores.sizes(), ElementsAre(2, 4, 4));
  const at::Tensor pattern = AttentionPattern(scores);
  for (int64_t head = 0; head < 2; ++head) {
    for (int64_t i = 0; i < 4; ++i) {
      for (int64_t j = 0; j < 4; ++j) {
        const float score = scores[head][i][j].item<float>();
        if (visible[i][j].item<bool>()) {
          // Not scaled by 1 / √d_head.
          EXPECT_NEAR(score, q[i][head].dot(k[j][0]).item<float>(), 1e-5);
        } else {
          EXPECT_EQ(score, -std::numeric_limits<float>::infinity());
          EXPECT_EQ(pattern[head][i][j].item<float>(), 0);
        }
      }
      EXPECT_NEAR(pattern[head][i].sum().item<float>(), 1, 1e-6);
    }
  }
}

TEST(AttentionPattern, IsComputedInFloat32) {
  const at::Tensor scores = RandomTensor({2, 3, 50}, 3, at::kBFloat16) * 4;
  const at::Tensor pattern = AttentionPattern(scores);
  EXPECT_EQ(pattern.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::equal(pattern, scores.to(at::kFloat).softmax(-1).to(at::kBFloat16)));
}

}  // namespace
}  // namespace hookwire::model
