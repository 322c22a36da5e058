// The products are those of x86-64 processors with AVX2 and FMA, which these tests ask for.
#if defined(__x86_64__)
#include "model/nn/cpu_linear.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/nn/dot_kernel.h"
#include "tests/unit/model/random_tensor.h"

namespace hookwire::model {
namespace {

using ::hookwire::testing::RandomTensor;

// What dot_kernel.h promises, a number at a time.
float DotByDefinition(const float* x, const float* w, int64_t in) {
  float total = 0;
  for (int64_t first = 0; first < in; first += kDotChunk) {
    std::array<float, kDotLanes> lanes{};
    for (int64_t i = first; i < std::min(in, first + kDotChunk); ++i) {
      float& lane = lanes[static_cast<size_t>(i % kDotLanes)];
      lane = std::fma(x[i], w[i], lane);
    }
    for (size_t half = kDotLanes / 2; half > 0; half /= 2) {
      for (size_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
    }
    total = first == 0 ? lanes[0] : total + lanes[0];
  }
  return total;
}

at::Tensor ByDefinition(const at::Tensor& x, const at::Tensor& w) {
  at::Tensor y = at::empty({x.size(0), w.size(0)});
  for (int64_t m = 0; m < x.size(0); ++m) {
    for (int64_t n = 0; n < w.size(0); ++n) {
      y.mutable_data_ptr<float>()[m * w.size(0) + n] =
          DotByDefinition(x.const_data_ptr<float>() + m * x.stride(0),
                          w.const_data_ptr<float>() + n * w.stride(0), x.size(1));
    }
  }
  return y;
}

std::vector<std::pair<std::string, DotKernel>> KernelsHere() {
  std::vector<std::pair<std::string, DotKernel>> kernels = {{"AVX2", DotBlockAvx2}};
  if (__builtin_cpu_supports("avx512f")) kernels.emplace_back("AVX-512", DotBlockAvx512);
  return kernels;
}

double RootMeanSquare(const at::Tensor& x) {
  return x.to(at::kDouble).square().mean().sqrt().item<double>();
}

TEST(DotKernel, EveryOneGivesTheBitsOfTheDefinition) {
  for (const auto& [name, kernel] : KernelsHere()) {
    for (const int64_t in : {1, 7, 15, 16, 17, 31, 64, 100, 1023, 1024, 1025, 1040, 2049, 3080}) {
      for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{
               {1, 1}, {2, 3}, {3, 2}, {4, 4}, {5, 5}, {6, 4}, {7, 9}, {12, 8}, {13, 1}}) {
        // Gaps between rows, and elements that lie at no multiple of a vector.
        const at::Tensor x = RandomTensor({rows, in + 5}, 1).narrow(1, 3, in);
        const at::Tensor w = RandomTensor({columns, in + 3}, 2).narrow(1, 1, in);
        constexpr float kUntouched = 7;
        const at::Tensor y = at::full({rows, columns + 2}, kUntouched);
        kernel({.x = x.const_data_ptr<float>(),
                .x_stride = x.stride(0),
                .rows = rows,
                .w = w.const_data_ptr<float>(),
                .w_stride = w.stride(0),
                .columns = columns,
                .in = in,
                .y = y.mutable_data_ptr<float>(),
                .y_stride = y.stride(0)});
        const std::string where = absl::StrCat(name, ": ", rows, " × ", columns, " of ", in);
        EXPECT_TRUE(at::equal(y.narrow(1, 0, columns), ByDefinition(x, w))) << where;
        EXPECT_TRUE(at::equal(y.narrow(1, columns, 2), at::full({rows, 2}, kUntouched))) << where;
      }
    }
  }
}

TEST(CpuLinear, BitsDependOnNeitherRowsNorThreads) {
  const at::Tensor w = RandomTensor({200, 1100}, 1);
  ASSERT_TRUE(HasCpuLinear(w));
  const int threads = at::get_num_threads();
  const absl::Cleanup restore = [threads] { at::set_num_threads(threads); };
  at::set_num_threads(1);
  const at::Tensor x = RandomTensor({150, 1100}, 2);
  const at::Tensor expected = ByDefinition(x, w);
  for (const int n_threads : {1, 2, 3, 5}) {
    at::set_num_threads(n_threads);
    EXPECT_TRUE(at::equal(CpuLinear(x, w), expected)) << n_threads << " threads";
    for (const int64_t rows : {1, 2, 5, 6, 7, 23, 24, 25, 49, 149}) {
      EXPECT_TRUE(at::equal(CpuLinear(x.narrow(0, 1, rows), w), expected.narrow(0, 1, rows)))
          << rows << " rows, " << n_threads << " threads";
    }
  }
}

TEST(CpuLinear, IsAsExactAsLibtorchsOwn) {
  for (const int64_t in : {64, 256, 1024, 3072}) {
    const at::Tensor w = RandomTensor({64, in}, 1);
    ASSERT_TRUE(HasCpuLinear(w));
    const at::Tensor x = RandomTensor({32, in}, 2);
    const at::Tensor exact = at::linear(x.to(at::kDouble), w.to(at::kDouble));
    EXPECT_LE(RootMeanSquare(CpuLinear(x, w) - exact),
              1.1 * RootMeanSquare(at::linear(x, w) - exact))
        << in;
  }
}

TEST(CpuLinear, TakesEveryShape) {
  const at::Tensor w = RandomTensor({24, 40}, 1);
  ASSERT_TRUE(HasCpuLinear(w));
  const at::Tensor x = RandomTensor({2, 3, 40}, 2);
  const at::Tensor y = CpuLinear(x, w);
  EXPECT_EQ(y.sizes(), (std::vector<int64_t>{2, 3, 24}));
  EXPECT_TRUE(at::equal(y.view({6, 24}), ByDefinition(x.view({6, 40}), w)));
  const at::Tensor turned = RandomTensor({40, 6}, 2).t();
  EXPECT_TRUE(at::equal(CpuLinear(turned, w), ByDefinition(turned.contiguous(), w)));
  EXPECT_EQ(CpuLinear(x.view({6, 40}).narrow(0, 0, 0), w).sizes(), (std::vector<int64_t>{0, 24}));
}

TEST(CpuLinear, CarriesWhatIsNotFinite) {
  const at::Tensor w = RandomTensor({9, 21}, 1);
  ASSERT_TRUE(HasCpuLinear(w));
  at::Tensor x = RandomTensor({3, 21}, 2);
  x[0][20] = std::numeric_limits<float>::quiet_NaN();
  x[1][0] = std::numeric_limits<float>::infinity();
  const at::Tensor y = CpuLinear(x, w);
  EXPECT_TRUE(y[0].isnan().all().item<bool>());
  EXPECT_TRUE(y[1].isinf().all().item<bool>());
  EXPECT_TRUE(y[2].isfinite().all().item<bool>());
}

TEST(CpuLinear, RefusesWhatDoesNotFit) {
  const at::Tensor w = RandomTensor({9, 21}, 1);
  EXPECT_THROW(CpuLinear(RandomTensor({3, 20}, 2), w), c10::Error);
  EXPECT_THROW(CpuLinear(RandomTensor({3, 21}, 2).to(at::kDouble), w), c10::Error);
  const at::Tensor weights = RandomTensor({2, 9, 21}, 1);
  for (const std::vector<int32_t>& ends : {std::vector<int32_t>{2, 1}, {1, 2}, {1, 4}}) {
    EXPECT_THROW(CpuGroupedLinear(RandomTensor({3, 21}, 2), weights, at::tensor(ends)), c10::Error);
  }
}

TEST(CpuLinear, IsNotForOthers) {
  const at::Tensor w = RandomTensor({9, 21}, 1);
  EXPECT_FALSE(HasCpuLinear(w.to(at::kBFloat16)));
  EXPECT_FALSE(HasCpuLinear(w.to(at::kDouble)));
  EXPECT_FALSE(HasCpuLinear(w.t()));
}

TEST(CpuGroupedLinear, IsEachGroupsOwnProduct) {
  const at::Tensor weights = RandomTensor({5, 70, 33}, 1);
  ASSERT_TRUE(HasCpuLinear(weights));
  const at::Tensor x = RandomTensor({41, 33}, 2);
  const std::vector<int32_t> ends = {3, 3, 30, 31, 41};
  const at::Tensor y = CpuGroupedLinear(x, weights, at::tensor(ends));
  ASSERT_EQ(y.sizes(), (std::vector<int64_t>{41, 70}));
  int64_t first = 0;
  for (size_t group = 0; group < ends.size(); ++group) {
    const int64_t rows = ends[group] - first;
    EXPECT_TRUE(at::equal(
        y.narrow(0, first, rows),
        ByDefinition(x.narrow(0, first, rows), weights.select(0, static_cast<int64_t>(group)))))
        << group;
    first = ends[group];
  }
}

}  // namespace
}  // namespace hookwire::model
#endif
