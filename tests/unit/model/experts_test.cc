#include "model/nn/experts.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/model/random_tensor.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::MaxDifference;
using ::hookwire::testing::RandomTensor;
using ::testing::ElementsAre;

constexpr int64_t kModel = 32;
constexpr int64_t kExperts = 6;
constexpr int64_t kWidth = 16;

RouterWeights Router() {
  return {RandomTensor({kExperts, kModel}, 11), RandomTensor({kModel}, 12) * 0.2 + 1,
          RandomTensor({kExperts}, 13) * 0.2 + 1};
}

ExpertWeights Experts() {
  return {RandomTensor({kExperts, 2 * kWidth, kModel}, 14) * 0.2,
          RandomTensor({kExperts, kModel, kWidth}, 15) * 0.2};
}

double GeluTanhOf(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

// Token by token, expert by expert, in double.
at::Tensor Oracle(const at::Tensor& x_in, const Routing& routing, const ExpertWeights& weights) {
  const at::Tensor x = x_in.to(at::kDouble);
  const at::Tensor gate_up = weights.gate_up.to(at::kDouble);
  const at::Tensor down = weights.down.to(at::kDouble);
  at::Tensor out = at::zeros(x.sizes(), at::kDouble);
  for (int64_t row = 0; row < x.size(0); ++row) {
    for (int64_t choice = 0; choice < routing.indices.size(1); ++choice) {
      const int64_t expert = routing.indices[row][choice].item<int64_t>();
      const at::Tensor both = gate_up[expert].mv(x[row]);
      at::Tensor inner = at::zeros({kWidth}, at::kDouble);
      for (int64_t i = 0; i < kWidth; ++i) {
        inner[i] = GeluTanhOf(both[i].item<double>()) * both[kWidth + i].item<double>();
      }
      out[row] += down[expert].mv(inner) * routing.weights[row][choice].item<double>();
    }
  }
  return out;
}

TEST(RouterScores, AreTheProjectionOfTheScaledNorm) {
  const RouterWeights router = Router();
  const at::Tensor x = RandomTensor({5, kModel}, 1) * 3;
  const at::Tensor wide = x.to(at::kDouble);
  const at::Tensor norm = wide / (wide.pow(2).mean(-1, true) + 1e-6).sqrt();
  const at::Tensor expected =
      (norm * router.scale.to(at::kDouble) / std::sqrt(static_cast<double>(kModel)))
          .matmul(router.projection.to(at::kDouble).t());
  for (const Numerics numerics : {Numerics::kFast, Numerics::kReference}) {
    EXPECT_LT(MaxDifference(RouterScores(x, router, 1e-6, numerics), expected), 1e-5);
  }
}

TEST(RouterProbabilities, AreFloat32AndSumToOne) {
  const at::Tensor scores = RandomTensor({5, kExperts}, 2, at::kBFloat16);
  const at::Tensor probabilities = RouterProbabilities(scores);
  EXPECT_EQ(probabilities.scalar_type(), at::kFloat);
  EXPECT_LT(MaxDifference(probabilities, scores.to(at::kDouble).softmax(-1)), 1e-6);
}

TEST(ChooseExperts, TakesTheLargestMadeToSumToOneTimesTheirScale) {
  const RouterWeights router = {{}, {}, at::tensor({1.0f, 2.0f, 3.0f, 4.0f})};
  const at::Tensor probabilities =
      at::tensor({0.1f, 0.5f, 0.1f, 0.3f, 0.6f, 0.15f, 0.2f, 0.05f}).view({2, 4});
  const Routing routing = ChooseExperts(probabilities, router, 2);
  EXPECT_EQ(routing.indices.scalar_type(), at::kLong);
  EXPECT_TRUE(at::equal(routing.indices, at::tensor({1, 3, 0, 2}, at::kLong).view({2, 2})));
  EXPECT_EQ(routing.weights.scalar_type(), at::kFloat);
  EXPECT_LT(
      MaxDifference(
          routing.weights,
          at::tensor({0.5 / 0.8 * 2, 0.3 / 0.8 * 4, 0.6 / 0.8 * 1, 0.2 / 0.8 * 3}).view({2, 2})),
      1e-6);
}

TEST(ChooseExperts, AllOfThemKeepTheirProbabilities) {
  const RouterWeights router = {{}, {}, at::full({4}, 1.0f)};
  const at::Tensor probabilities = at::tensor({0.1f, 0.5f, 0.15f, 0.25f}).view({1, 4});
  const Routing routing = ChooseExperts(probabilities, router, 4);
  EXPECT_LT(MaxDifference(routing.weights, at::tensor({0.5, 0.25, 0.15, 0.1}).view({1, 4})), 1e-6);
}

class RunExpertsWith : public ::testing::TestWithParam<int64_t> {};

TEST_P(RunExpertsWith, ChosenExpertsIsTheNaiveLoop) {
  const RouterWeights router = Router();
  const ExpertWeights experts = Experts();
  const at::NoGradGuard no_gradients;
  for (const int64_t rows : {1, 2, 13}) {
    const at::Tensor x = RandomTensor({rows, kModel}, 3);
    const Routing routing =
        ChooseExperts(RouterProbabilities(RouterScores(x, router, 1e-6, Numerics::kReference)),
                      router, GetParam());
    const at::Tensor before = x.clone();
    for (const Numerics numerics : {Numerics::kReference, Numerics::kFast, Numerics::kInvariant}) {
      const at::Tensor out = RunExperts(x, routing, experts, numerics);
      EXPECT_EQ(out.scalar_type(), at::kFloat);
      EXPECT_LT(MaxDifference(out, Oracle(x, routing, experts)), 1e-5) << rows;
      EXPECT_TRUE(at::equal(x, before));
    }
  }
}

TEST_P(RunExpertsWith, InvariantARowIsTheSameByItself) {
  const at::NoGradGuard no_gradients;
  const ExpertWeights experts = Experts();
  const at::Tensor x = RandomTensor({29, kModel}, 3);
  const Routing routing =
      ChooseExperts(RandomTensor({29, kExperts}, 7).softmax(-1), Router(), GetParam());
  const at::Tensor all = RunExperts(x, routing, experts, Numerics::kInvariant);
  for (int64_t row = 0; row < x.size(0); ++row) {
    const Routing own = {routing.weights.narrow(0, row, 1), routing.indices.narrow(0, row, 1)};
    EXPECT_TRUE(at::equal(RunExperts(x.narrow(0, row, 1), own, experts, Numerics::kInvariant),
                          all.narrow(0, row, 1)))
        << row;
  }
}

INSTANTIATE_TEST_SUITE_P(Numbers, RunExpertsWith, ::testing::Values(1, 2, 5, kExperts));

TEST(RunExperts, RowsMayAllGoToOneExpertAndLeaveOthersIdle) {
  const ExpertWeights experts = Experts();
  const at::Tensor x = RandomTensor({7, kModel}, 4);
  for (const int64_t expert : {int64_t{0}, int64_t{3}, kExperts - 1}) {
    const Routing routing = {at::full({7, 1}, 0.5f), at::full({7, 1}, expert, at::kLong)};
    EXPECT_LT(MaxDifference(RunExperts(x, routing, experts, Numerics::kReference),
                            Oracle(x, routing, experts)),
              1e-5);
  }
}

TEST(RunExperts, WeightsBelongToTheirRowAndExpert) {
  const ExpertWeights experts = Experts();
  const at::Tensor x = RandomTensor({3, kModel}, 5);
  const Routing routing = {at::tensor({0.0f, 1.0f, 2.0f, 0.25f, -1.0f, 0.5f}).view({3, 2}),
                           at::tensor({5, 0, 1, 4, 4, 2}, at::kLong).view({3, 2})};
  EXPECT_LT(MaxDifference(RunExperts(x, routing, experts, Numerics::kReference),
                          Oracle(x, routing, experts)),
            1e-5);
}

TEST(RunExperts, InBfloat16) {
  const RouterWeights router = Router();
  const ExpertWeights experts = {Experts().gate_up.to(at::kBFloat16),
                                 Experts().down.to(at::kBFloat16)};
  const at::Tensor x = RandomTensor({9, kModel}, 6, at::kBFloat16);
  const Routing routing = ChooseExperts(RandomTensor({9, kExperts}, 7).softmax(-1), router, 2);
  const at::Tensor out = RunExperts(x, routing, experts, Numerics::kReference);
  EXPECT_EQ(out.scalar_type(), at::kBFloat16);
  EXPECT_LT(MaxDifference(out, Oracle(x, routing, experts)), 0.05);
}

TEST(RunExperts, NoRows) {
  const at::Tensor x = RandomTensor({0, kModel}, 8);
  const at::Tensor out = RunExperts(x, {at::zeros({0, 2}), at::zeros({0, 2}, at::kLong)}, Experts(),
                                    Numerics::kReference);
  EXPECT_THAT(out.sizes(), ElementsAre(0, kModel));
}

}  // namespace
}  // namespace hookwire::model
