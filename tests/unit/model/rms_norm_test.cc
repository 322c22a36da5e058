#include "model/nn/rms_norm.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <tuple>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/model/random_tensor.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::MaxDifference;
using ::hookwire::testing::RandomTensor;
using ::testing::ElementsAre;

// The formula, in double.
at::Tensor Oracle(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kDouble);
  const at::Tensor y = wide / (wide.pow(2).mean(-1, true) + eps).sqrt();
  return weight.defined() ? y * weight.to(at::kDouble) : y;
}

class RmsNormIn : public ::testing::TestWithParam<std::tuple<at::ScalarType, Numerics>> {
 protected:
  const at::ScalarType dtype_ = std::get<0>(GetParam());
  const Numerics numerics_ = std::get<1>(GetParam());
  // Of results around 1.
  const double tolerance_ = dtype_ == at::kFloat ? 4e-6 : 0.04;
};

TEST_P(RmsNormIn, IsTheFormula) {
  for (const int64_t width : {1, 7, 8, 32, 100, 512}) {
    const at::Tensor x = RandomTensor({5, width}, 1, dtype_) * 3;
    const at::Tensor weight = RandomTensor({width}, 2, dtype_);
    const at::Tensor y = RmsNorm(x, weight, 1e-6, numerics_);
    EXPECT_EQ(y.scalar_type(), dtype_);
    EXPECT_LT(MaxDifference(y, Oracle(x, weight, 1e-6)), tolerance_) << width;
  }
}

TEST_P(RmsNormIn, WorksOnTheLastAxis) {
  const at::Tensor x = RandomTensor({3, 4, 16}, 3, dtype_);
  const at::Tensor weight = RandomTensor({16}, 4, dtype_);
  const at::Tensor y = RmsNorm(x, weight, 1e-6, numerics_);
  EXPECT_THAT(y.sizes(), ElementsAre(3, 4, 16));
  EXPECT_LT(MaxDifference(y, Oracle(x, weight, 1e-6)), tolerance_);
  // A view with other strides.
  const at::Tensor turned = x.transpose(0, 1);
  EXPECT_LT(MaxDifference(RmsNorm(turned, weight, 1e-6, numerics_), Oracle(turned, weight, 1e-6)),
            tolerance_);
}

TEST_P(RmsNormIn, WithoutAWeightMultipliesByOne) {
  const at::Tensor x = RandomTensor({5, 16}, 5, dtype_);
  EXPECT_LT(MaxDifference(RmsNorm(x, {}, 1e-6, numerics_), Oracle(x, {}, 1e-6)), tolerance_);
}

TEST_P(RmsNormIn, EpsKeepsZerosFinite) {
  const at::Tensor x = at::zeros({2, 16}, at::TensorOptions().dtype(dtype_));
  EXPECT_TRUE(at::equal(RmsNorm(x, {}, 1e-6, numerics_), x));
  // √(mean + eps), not √mean + eps.
  const at::Tensor ones = at::full({1, 16}, 1, at::TensorOptions().dtype(dtype_));
  EXPECT_LT(MaxDifference(RmsNorm(ones, {}, 3.0, numerics_), ones * 0.5), tolerance_);
}

TEST_P(RmsNormIn, LeavesItsInputAlone) {
  const at::Tensor x = RandomTensor({5, 16}, 6, dtype_);
  const at::Tensor before = x.clone();
  RmsNorm(x, {}, 1e-6, numerics_);
  EXPECT_TRUE(at::equal(x, before));
}

INSTANTIATE_TEST_SUITE_P(Each, RmsNormIn,
                         ::testing::Combine(::testing::Values(at::kFloat, at::kBFloat16),
                                            ::testing::Values(Numerics::kFast,
                                                              Numerics::kReference)));

TEST(RmsNormSteps, AreWhatTheySay) {
  const at::Tensor x = RandomTensor({5, 32}, 7, at::kBFloat16);
  const RmsNormSteps steps = BeginRmsNorm(x, 1e-6);
  EXPECT_EQ(steps.scale.scalar_type(), at::kFloat);
  EXPECT_EQ(steps.normalized.scalar_type(), at::kFloat);
  EXPECT_THAT(steps.scale.sizes(), ElementsAre(5, 1));
  const at::Tensor wide = x.to(at::kDouble);
  EXPECT_LT(MaxDifference(steps.scale, (wide.pow(2).mean(-1, true) + 1e-6).sqrt()), 1e-6);
  EXPECT_LT(MaxDifference(steps.normalized, wide / steps.scale.to(at::kDouble)), 1e-5);
}

TEST(RmsNormSteps, HaveTheBitsOfTheReference) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = RandomTensor({9, 48}, 8, dtype);
    const at::Tensor weight = RandomTensor({48}, 9, dtype);
    const RmsNormSteps steps = BeginRmsNorm(x, 1e-6);
    EXPECT_TRUE(at::equal(EndRmsNorm(steps.normalized, weight, dtype),
                          RmsNorm(x, weight, 1e-6, Numerics::kReference)));
  }
}

}  // namespace
}  // namespace hookwire::model
