#include "model/nn/rotary.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/model/random_tensor.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::MaxDifference;
using ::hookwire::testing::RandomTensor;
using ::testing::ElementsAre;

// The angle by which pair `pair` turns for each position.
double Frequency(const RopeConfig& rope, int64_t d_head, int64_t pair) {
  const int64_t pairs = d_head / 2;
  const int64_t turned =
      rope.proportional ? static_cast<int64_t>(rope.partial_rotary_factor * pairs) : pairs;
  if (pair >= turned) return 0;
  return std::pow(rope.theta, -2.0 * pair / d_head);
}

struct Case {
  RopeConfig rope;
  int64_t d_head;
};

const Case kCases[] = {
    {{.proportional = false, .theta = 1e4, .partial_rotary_factor = 1.0}, 8},
    {{.proportional = false, .theta = 1e4, .partial_rotary_factor = 1.0}, 256},
    {{.proportional = true, .theta = 1e6, .partial_rotary_factor = 0.25}, 512},
    {{.proportional = true, .theta = 1e6, .partial_rotary_factor = 0.25}, 16},
    {{.proportional = true, .theta = 1e6, .partial_rotary_factor = 1.0}, 16},
    // Not a whole number of pairs: 0.3 × 5 = 1.5.
    {{.proportional = true, .theta = 1e6, .partial_rotary_factor = 0.3}, 10},
    // Less than a pair: nothing is rotated.
    {{.proportional = true, .theta = 1e6, .partial_rotary_factor = 0.1}, 8},
};

class Rotary : public ::testing::TestWithParam<Case> {};

TEST_P(Rotary, FrequenciesAreTheFormula) {
  const auto& [rope, d_head] = GetParam();
  const at::Tensor frequencies = InverseFrequencies(rope, d_head);
  EXPECT_EQ(frequencies.scalar_type(), at::kFloat);
  ASSERT_THAT(frequencies.sizes(), ElementsAre(d_head / 2));
  for (int64_t pair = 0; pair < d_head / 2; ++pair) {
    const double expected = Frequency(rope, d_head, pair);
    EXPECT_NEAR(frequencies[pair].item<double>(), expected, 1e-6 * expected) << pair;
  }
}

TEST_P(Rotary, TurnsPairsByTheirAngles) {
  const auto& [rope, d_head] = GetParam();
  const std::vector<int64_t> positions = {0, 1, 2, 17, 1000};
  const int64_t rows = static_cast<int64_t>(positions.size());
  const auto [cos, sin] =
      RotaryFactors(at::tensor(positions, at::kLong), InverseFrequencies(rope, d_head), at::kFloat,
                    Numerics::kFast);
  EXPECT_THAT(cos.sizes(), ElementsAre(rows, d_head));
  EXPECT_THAT(sin.sizes(), ElementsAre(rows, d_head));
  const at::Tensor x = RandomTensor({rows, 3, d_head}, 1);
  for (const Numerics numerics : {Numerics::kFast, Numerics::kReference}) {
    const at::Tensor y = ApplyRotary(x, cos, sin, numerics);
    ASSERT_EQ(y.sizes(), x.sizes());
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t pair = 0; pair < d_head / 2; ++pair) {
        const double angle = static_cast<double>(positions[static_cast<size_t>(row)]) *
                             Frequency(rope, d_head, pair);
        const double a = x[row][2][pair].item<double>();
        const double b = x[row][2][pair + d_head / 2].item<double>();
        // float32 angles of position 1000 are good to 1000 × 2⁻²⁴.
        EXPECT_NEAR(y[row][2][pair].item<double>(), a * std::cos(angle) - b * std::sin(angle),
                    4e-4);
        EXPECT_NEAR(y[row][2][pair + d_head / 2].item<double>(),
                    b * std::cos(angle) + a * std::sin(angle), 4e-4);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Rotary, ::testing::ValuesIn(kCases));

TEST(ApplyRotary, KeepsTheDtypeAndTheFirstPosition) {
  const auto [cos, sin] =
      RotaryFactors(at::arange(3, at::kLong), InverseFrequencies({.theta = 1e4}, 8), at::kBFloat16,
                    Numerics::kFast);
  EXPECT_EQ(cos.scalar_type(), at::kBFloat16);
  EXPECT_EQ(sin.scalar_type(), at::kBFloat16);
  const at::Tensor x = RandomTensor({3, 2, 8}, 2, at::kBFloat16);
  const at::Tensor before = x.clone();
  for (const Numerics numerics : {Numerics::kFast, Numerics::kReference}) {
    const at::Tensor y = ApplyRotary(x, cos, sin, numerics);
    EXPECT_EQ(y.scalar_type(), at::kBFloat16);
    EXPECT_TRUE(at::equal(y[0], x[0]));
    EXPECT_FALSE(at::equal(y[1], x[1]));
    EXPECT_TRUE(at::equal(x, before));
  }
}

TEST(ApplyRotary, ScoresDependOnDistanceAlone) {
  const RopeConfig rope = {.theta = 1e4};
  const at::Tensor q = RandomTensor({1, 1, 32}, 3).expand({12, 1, 32}).contiguous();
  const at::Tensor k = RandomTensor({1, 1, 32}, 4).expand({12, 1, 32}).contiguous();
  const auto [cos, sin] = RotaryFactors(at::arange(12, at::kLong), InverseFrequencies(rope, 32),
                                        at::kFloat, Numerics::kFast);
  for (const Numerics numerics : {Numerics::kFast, Numerics::kReference}) {
    const at::Tensor turned_q = ApplyRotary(q, cos, sin, numerics).squeeze(1);
    const at::Tensor turned_k = ApplyRotary(k, cos, sin, numerics).squeeze(1);
    const at::Tensor scores = turned_q.matmul(turned_k.t());
    EXPECT_LT(MaxDifference(scores.diagonal(3), scores[0][3].expand({9})), 1e-4);
    EXPECT_GT(MaxDifference(scores[0][0], scores[0][3]), 1e-2);
  }
}

}  // namespace
}  // namespace hookwire::model
