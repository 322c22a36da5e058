#include "model/nn/gelu.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <limits>

#include "gtest/gtest.h"
#include "tests/unit/model/random_tensor.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::RandomTensor;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The largest error of gelu(x) · 1 in float32, in units of the true value's size and 1e-6 at least.
double LargestError(const at::Tensor& x, Numerics numerics) {
  const c10::InferenceMode inference;
  const at::Tensor got = GatedGelu(x, at::ones(x.sizes()), numerics).to(at::kDouble);
  const at::Tensor truth = at::gelu(x.to(at::kDouble), "tanh");
  return ((got - truth).abs() / truth.abs().clamp_min(1e-6)).max().item<double>();
}

TEST(GatedGelu, IsAtLeastAsNearToTheTruthAsLibtorchs) {
  const at::Tensor x = at::linspace(-12, 12, 100'003).view({1, -1});
  const double ours = LargestError(x, Numerics::kInvariant);
  EXPECT_LT(ours, 3e-6);
  EXPECT_LE(ours, LargestError(x, Numerics::kReference));
  EXPECT_LT(LargestError(at::linspace(-1e-3, 1e-3, 1001).view({1, -1}), Numerics::kInvariant),
            1e-6);
}

TEST(GatedGelu, EndsWhereNumbersEnd) {
  const c10::InferenceMode inference;
  const at::Tensor x = at::tensor({0.0, -0.0, 1e30, -1e30, 3e38, -3e38, kInfinity}).view({1, -1});
  const at::Tensor float_x = x.to(at::kFloat);
  const at::Tensor got = GatedGelu(float_x, at::ones(float_x.sizes()), Numerics::kInvariant);
  EXPECT_TRUE(at::equal(got, at::gelu(float_x, "tanh"))) << got;
  const at::Tensor nan = at::tensor({std::nan(""), -kInfinity}).to(at::kFloat).view({1, -1});
  EXPECT_TRUE(GatedGelu(nan, at::ones({1, 2}), Numerics::kInvariant).isnan().all().item<bool>());
}

TEST(GatedGelu, TakesViewsAndGivesARowTheSameBitsEverywhere) {
  const c10::InferenceMode inference;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor both = (RandomTensor({33, 74}, 3) * 3).to(dtype);
    const auto halves = both.chunk(2, -1);
    const at::Tensor all = GatedGelu(halves[0], halves[1], Numerics::kInvariant);
    EXPECT_TRUE(at::equal(
        all, GatedGelu(halves[0].contiguous(), halves[1].contiguous(), Numerics::kInvariant)));
    for (const int64_t row : {0, 1, 17, 32}) {
      const at::Tensor alone = GatedGelu(halves[0].narrow(0, row, 1).contiguous(),
                                         halves[1].narrow(0, row, 1), Numerics::kInvariant);
      EXPECT_TRUE(at::equal(all.narrow(0, row, 1), alone));
    }
  }
}

}  // namespace
}  // namespace hookwire::model
