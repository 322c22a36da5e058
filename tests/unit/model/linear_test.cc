#include "model/nn/linear.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>

#include <algorithm>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/nn/cpu_linear.h"
#include "model/numerics.h"
#include "model/text/project.h"
#include "tests/unit/model/random_tensor.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::MaxDifference;
using ::hookwire::testing::RandomTensor;

constexpr Numerics kInvariant = Numerics::kInvariant;

// Rows with gaps inside, which CpuLinear does not take.
Linear Tiled(int64_t out, int64_t in, at::ScalarType dtype, bool bias) {
  Linear linear{.weight = RandomTensor({in, out}, 1).to(dtype).t(), .bias = {}};
  EXPECT_FALSE(HasCpuLinear(linear.weight));
  if (bias) linear.bias = RandomTensor({out}, 2).to(dtype);
  auto tiles = FindRowTiles(linear);
  EXPECT_TRUE(tiles.ok()) << tiles.status();
  linear.tiles = *std::move(tiles);
  return linear;
}

TEST(RowTiles, GoFromTheLargestToSixteen) {
  const Linear linear = Tiled(48, 32, at::kFloat, false);
  ASSERT_FALSE(linear.tiles.empty());
  EXPECT_EQ(linear.tiles.back(), 16);
  EXPECT_TRUE(std::is_sorted(linear.tiles.rbegin(), linear.tiles.rend()));
}

TEST(RowTiles, ARowsBitsDependOnNothingButTheRow) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const bool bias : {false, true}) {
      const Linear linear = Tiled(96, 64, dtype, bias);
      const at::Tensor x = RandomTensor({600, 64}, 3).to(dtype);
      const at::Tensor all = linear(x, kInvariant);
      ASSERT_EQ(all.sizes(), (std::vector<int64_t>{600, 96}));
      for (const int64_t rows : {1, 2, 3, 15, 16, 17, 31, 33, 64, 100, 255, 257, 599}) {
        for (const int64_t first : {int64_t{0}, int64_t{1}, 600 - rows}) {
          EXPECT_TRUE(
              at::equal(linear(x.narrow(0, first, rows), kInvariant), all.narrow(0, first, rows)))
              << rows << " rows from " << first;
        }
      }
    }
  }
}

TEST(RowTiles, GiveTheProduct) {
  const Linear linear = Tiled(96, 64, at::kFloat, true);
  const at::Tensor x = RandomTensor({83, 64}, 3);
  const at::Tensor expected =
      at::linear(x.to(at::kDouble), linear.weight.to(at::kDouble), linear.bias.to(at::kDouble));
  EXPECT_LT(MaxDifference(linear(x, kInvariant), expected), 1e-4);
  EXPECT_EQ(linear(x.narrow(0, 0, 0), kInvariant).sizes(), (std::vector<int64_t>{0, 96}));
}

TEST(Linear, IsLibtorchsInReferenceAndOurOwnElse) {
  const Linear linear{.weight = RandomTensor({96, 1024}, 1), .bias = RandomTensor({96}, 2)};
  const at::Tensor x = RandomTensor({37, 1024}, 3);
  const at::Tensor expected = at::linear(x, linear.weight, linear.bias);
  const at::NoGradGuard no_gradients;
  EXPECT_TRUE(at::equal(linear(x, Numerics::kReference), expected));
  const at::Tensor own = CpuLinear(x, linear.weight) + linear.bias;
  EXPECT_FALSE(at::equal(own, expected));
  EXPECT_LT(MaxDifference(own, expected), 1e-3);
  for (const Numerics numerics : {Numerics::kFast, Numerics::kInvariant}) {
    EXPECT_TRUE(at::equal(linear(x, numerics), own));
  }
}

TEST(Linear, HasGradientsWhereTheyAreRecorded) {
  const at::AutoGradMode recording(true);
  const Linear linear{.weight = RandomTensor({8, 16}, 1).requires_grad_(), .bias = {}};
  EXPECT_TRUE(linear(RandomTensor({3, 16}, 3), Numerics::kFast).requires_grad());
}

TEST(Linear, ProjectsAllPartsAsEachByItself) {
  const Linear linear{.weight = RandomTensor({24, 32}, 1), .bias = {}};
  Ragged x;
  for (const int64_t rows : {3, 0, 40, 1}) {
    x.push_back(RandomTensor({rows, 32}, static_cast<unsigned>(rows + 5)));
  }
  const Ragged y = Project(x, linear, kInvariant);
  ASSERT_EQ(y.size(), x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_TRUE(at::equal(y[i], CpuLinear(x[i], linear.weight))) << i;
  }
}

TEST(RowTiles, ProjectTakesAllPartsAtOnce) {
  const Linear linear = Tiled(24, 32, at::kFloat, false);
  Ragged x;
  for (const int64_t rows : {3, 0, 40, 1}) {
    x.push_back(RandomTensor({rows, 32}, static_cast<unsigned>(rows + 5)));
  }
  const Ragged y = Project(x, linear, kInvariant);
  ASSERT_EQ(y.size(), x.size());
  for (size_t i = 0; i < x.size(); ++i) EXPECT_TRUE(at::equal(y[i], linear(x[i], kInvariant))) << i;
}

}  // namespace
}  // namespace hookwire::model
