// The products are those of x86-64 processors with AVX2 and FMA, which these tests ask for.
#if defined(__x86_64__)
#include "model/nn/cpu_linear.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
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

using ::hookwire::testing::MaxDifference;
using ::hookwire::testing::RandomTensor;

// The bits of kernels' elements, as dot_kernel.h has them.
template <typename T>
const T* Elements(const at::Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}

template <typename T>
constexpr at::ScalarType kDtype = std::is_same_v<T, float> ? at::kFloat : at::kBFloat16;

// What dot_kernel.h promises, a number at a time: x and w [in], of T and in float32.
template <typename T>
float DotByDefinition(const float* x, const float* w, int64_t in) {
  std::array<float, kDotLanes> lanes{};
  for (int64_t first = 0; first < in; first += kDotChunk) {
    std::array<float, kDotLanes> chunk{};
    const auto add = [&](int64_t i, size_t lane) {
      if (i < in) chunk[lane] = std::fma(x[i], w[i], chunk[lane]);
    };
    for (int64_t i = first; i < std::min(in, first + kDotChunk); ++i) {
      if (std::is_same_v<T, float>) {
        add(i, static_cast<size_t>(i % kDotLanes));
      } else if (i % 2 == 0) {
        const auto lane = static_cast<size_t>(i / 2 % kDotLanes);
        add(i + 1, lane);
        add(i, lane);
      }
    }
    for (size_t lane = 0; lane < kDotLanes; ++lane) lanes[lane] += chunk[lane];
  }
  for (size_t half = kDotLanes / 2; half > 0; half /= 2) {
    for (size_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

template <typename T>
at::Tensor ByDefinition(const at::Tensor& x_of_t, const at::Tensor& w_of_t) {
  const at::Tensor x = x_of_t.to(at::kFloat).contiguous();
  const at::Tensor w = w_of_t.to(at::kFloat).contiguous();
  at::Tensor y = at::empty({x.size(0), w.size(0)});
  for (int64_t m = 0; m < x.size(0); ++m) {
    for (int64_t n = 0; n < w.size(0); ++n) {
      y.mutable_data_ptr<float>()[m * w.size(0) + n] =
          DotByDefinition<T>(x.const_data_ptr<float>() + m * x.size(1),
                             w.const_data_ptr<float>() + n * w.size(1), x.size(1));
    }
  }
  return y.to(kDtype<T>);
}

template <typename T>
std::vector<std::pair<std::string, DotKernel<T>>> KernelsHere();

template <>
std::vector<std::pair<std::string, DotKernel<float>>> KernelsHere() {
  std::vector<std::pair<std::string, DotKernel<float>>> kernels = {{"AVX2", kDotAvx2Float}};
  if (__builtin_cpu_supports("avx512f")) kernels.push_back({"AVX-512", kDotAvx512Float});
  return kernels;
}

template <>
std::vector<std::pair<std::string, DotKernel<Bfloat16Bits>>> KernelsHere() {
  std::vector<std::pair<std::string, DotKernel<Bfloat16Bits>>> kernels = {
      {"AVX2", kDotAvx2Bfloat16}};
  if (__builtin_cpu_supports("avx512f")) kernels.push_back({"AVX-512", kDotAvx512Bfloat16});
  if (__builtin_cpu_supports("avx512bf16")) kernels.push_back({"AVX512_BF16", kDotAvx512Bf16});
  return kernels;
}

// y = x wᵀ as one block: x [rows, in], w [columns, in], y [rows, columns].
template <typename T>
void RunAsBlock(const DotKernel<T>& kernel, const at::Tensor& x, const at::Tensor& w,
                const at::Tensor& y) {
  const int64_t rows = x.size(0);
  const int64_t in = x.size(1);
  const int64_t packed_in = (in + kDotStep - 1) / kDotStep * kDotStep;
  // Not a number at first: what packing leaves out must not be read.
  const at::Tensor packed = at::full({rows * packed_in * kernel.packed_size}, 0xFF, at::kByte);
  auto* const bytes = static_cast<char*>(packed.mutable_data_ptr());
  for (int64_t row = 0; row < rows; row += kernel.strip_rows) {
    kernel.pack({.x = Elements<T>(x) + row * x.stride(0),
                 .x_stride = x.stride(0),
                 .rows = std::min(kernel.strip_rows, rows - row),
                 .in = in},
                bytes + row * packed_in * kernel.packed_size);
  }
  kernel.run({.packed = bytes,
              .packed_in = packed_in,
              .rows = rows,
              .w = Elements<T>(w),
              .w_stride = w.stride(0),
              .columns = w.size(0),
              .in = in,
              .y = static_cast<T*>(y.mutable_data_ptr()),
              .y_stride = y.stride(0)});
}

bool All(const at::Tensor& x) { return x.all().item<bool>(); }

double RootMeanSquare(const at::Tensor& x) {
  return x.to(at::kDouble).square().mean().sqrt().item<double>();
}

template <typename T>
class DotKernelOf : public ::testing::Test {};
template <typename T>
class CpuLinearOf : public ::testing::Test {
 protected:
  static at::Tensor Random(at::IntArrayRef shape, unsigned seed) {
    return RandomTensor(shape, seed, kDtype<T>);
  }
};

using ElementTypes = ::testing::Types<float, Bfloat16Bits>;
struct NameOfType {
  template <typename T>
  static std::string GetName(int /*index*/) {
    return std::is_same_v<T, float> ? "float32" : "bfloat16";
  }
};
TYPED_TEST_SUITE(DotKernelOf, ElementTypes, NameOfType);
TYPED_TEST_SUITE(CpuLinearOf, ElementTypes, NameOfType);

TYPED_TEST(DotKernelOf, EveryOneGivesTheBitsOfTheDefinition) {
  for (const auto& [name, kernel] : KernelsHere<TypeParam>()) {
    for (const int64_t in : {1,  7,   15,   16,   17,   31,   32,   33,   63,   64,
                             65, 100, 1023, 1024, 1025, 1040, 2047, 2048, 2049, 3080}) {
      for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{{1, 1},
                                                                                  {2, 3},
                                                                                  {3, 2},
                                                                                  {4, 4},
                                                                                  {5, 5},
                                                                                  {6, 4},
                                                                                  {7, 9},
                                                                                  {12, 8},
                                                                                  {13, 1},
                                                                                  {25, 5},
                                                                                  {47, 2},
                                                                                  {48, 33}}) {
        // Gaps between rows, and elements that lie at no multiple of a vector.
        const at::Tensor x = RandomTensor({rows, in + 5}, 1, kDtype<TypeParam>).narrow(1, 3, in);
        const at::Tensor w = RandomTensor({columns, in + 3}, 2, kDtype<TypeParam>).narrow(1, 1, in);
        const at::Tensor y = at::full({rows, columns + 2}, 7, x.options());
        RunAsBlock<TypeParam>(kernel, x, w, y);
        const std::string where = absl::StrCat(name, ": ", rows, " × ", columns, " of ", in);
        EXPECT_TRUE(at::equal(y.narrow(1, 0, columns), ByDefinition<TypeParam>(x, w))) << where;
        EXPECT_TRUE(All(y.narrow(1, columns, 2).eq(7))) << where;
      }
    }
  }
}

// In bfloat16 the numbers themselves have few digits: each kernel takes 2⁻¹²⁷ as itself or as 0.
TYPED_TEST(DotKernelOf, TakesTheSmallestNumbersAsThemselvesOrAsZero) {
  constexpr double kLeastNormal = 0x1p-126;
  const auto options = at::TensorOptions().dtype(kDtype<TypeParam>);
  constexpr int64_t kIn = 40;
  for (const auto& [name, kernel] : KernelsHere<TypeParam>()) {
    const at::Tensor y = at::full({1, 1}, 7, options);
    const auto product = [&, &run = kernel](double x, double w) {
      RunAsBlock<TypeParam>(run, at::full({1, kIn}, x, options), at::full({1, kIn}, w, options), y);
      return y.item<double>();
    };
    EXPECT_EQ(product(kLeastNormal, 1), kIn * kLeastNormal) << name;
    EXPECT_EQ(product(-kLeastNormal, 1), -kIn * kLeastNormal) << name;
    EXPECT_EQ(product(0x1p-63, 0x1p-63), kIn * kLeastNormal) << name;
    EXPECT_THAT(product(kLeastNormal / 2, 1), ::testing::AnyOf(0, kIn * kLeastNormal / 2)) << name;
    EXPECT_THAT(product(0x1p-64, 0x1p-63), ::testing::AnyOf(0, kIn * kLeastNormal / 2)) << name;
    EXPECT_THAT(product(kLeastNormal / 2, 0x1p100),
                ::testing::AnyOf(0, kIn * kLeastNormal / 2 * 0x1p100))
        << name;
  }
}

TYPED_TEST(DotKernelOf, CarriesWhatIsNotFinite) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr int64_t kIn = 37;
  const auto options = at::TensorOptions().dtype(kDtype<TypeParam>);
  for (const auto& [name, kernel] : KernelsHere<TypeParam>()) {
    const at::Tensor w = at::ones({5, kIn}, options);
    at::Tensor x = at::ones({5, kIn}, options);
    x[0][36] = kNan;
    x[1][0] = kInfinity;
    x[2][1] = -kInfinity;
    x[3][0] = kInfinity;
    x[3][36] = -kInfinity;
    const at::Tensor y = at::zeros({5, 5}, options);
    RunAsBlock<TypeParam>(kernel, x, w, y);
    EXPECT_TRUE(All(y[0].isnan())) << name;
    EXPECT_TRUE(All(y[1].eq(kInfinity))) << name;
    EXPECT_TRUE(All(y[2].eq(-kInfinity))) << name;
    EXPECT_TRUE(All(y[3].isnan())) << name;
    EXPECT_TRUE(All(y[4].eq(kIn))) << name;
  }
}

TEST(DotKernel, RoundsToTheNearestBfloat16AndToTheEvenOneOfTwo) {
  for (const auto& [name, kernel] : KernelsHere<Bfloat16Bits>()) {
    // 1 + 2⁻⁸ lies halfway between two numbers, as does 1 + 3 · 2⁻⁸.
    for (const double sum : {1 + 0x1p-8, 1 + 3 * 0x1p-8, 1 + 0x1p-8 + 0x1p-15, -1 - 0x1p-8,
                             static_cast<double>(std::numeric_limits<float>::max())}) {
      const at::Tensor exact = at::full({1}, sum, at::kFloat);
      at::Tensor parts = at::empty({1, 3}, at::kFloat);
      at::Tensor left = exact.clone();
      for (int64_t i = 0; i < 3; ++i) {
        // The leading digits of what is left, cut off rather than rounded.
        const at::Tensor part = (left.view(at::kInt).bitwise_and(-0x10000)).view(at::kFloat);
        parts[0][i] = part[0];
        left = left - part;
      }
      const at::Tensor x = parts.to(at::kBFloat16);
      const at::Tensor y = at::zeros({1, 1}, x.options());
      RunAsBlock<Bfloat16Bits>(kernel, x, at::ones_like(x), y);
      EXPECT_TRUE(at::equal(y.view({1}), exact.to(at::kBFloat16))) << name << ": " << sum;
    }
  }
}

TYPED_TEST(CpuLinearOf, BitsDependOnNeitherRowsNorThreads) {
  const at::Tensor w = this->Random({200, 2100}, 1);
  ASSERT_TRUE(HasCpuLinear(w));
  const int threads = at::get_num_threads();
  const absl::Cleanup restore = [threads] { at::set_num_threads(threads); };
  at::set_num_threads(1);
  const at::Tensor x = this->Random({500, 2100}, 2);
  const at::Tensor expected = ByDefinition<TypeParam>(x, w);
  for (const int n_threads : {1, 2, 3, 5}) {
    at::set_num_threads(n_threads);
    EXPECT_TRUE(at::equal(CpuLinear(x, w), expected)) << n_threads << " threads";
    for (const int64_t rows : {1, 2, 5, 6, 7, 23, 24, 25, 49, 96, 97, 149, 385}) {
      EXPECT_TRUE(at::equal(CpuLinear(x.narrow(0, 1, rows), w), expected.narrow(0, 1, rows)))
          << rows << " rows, " << n_threads << " threads";
    }
  }
}

TYPED_TEST(CpuLinearOf, IsAsExactAsLibtorchsOwn) {
  for (const int64_t in : {64, 256, 1024, 3072, 12288}) {
    const at::Tensor w = this->Random({64, in}, 1);
    ASSERT_TRUE(HasCpuLinear(w));
    const at::Tensor x = this->Random({32, in}, 2);
    const at::Tensor exact = at::linear(x.to(at::kDouble), w.to(at::kDouble));
    EXPECT_LE(RootMeanSquare(CpuLinear(x, w) - exact),
              1.1 * RootMeanSquare(at::linear(x, w) - exact))
        << in;
    EXPECT_LE(MaxDifference(CpuLinear(x, w), exact), 1.1 * MaxDifference(at::linear(x, w), exact))
        << in;
  }
}

TYPED_TEST(CpuLinearOf, TakesEveryShape) {
  const at::Tensor w = this->Random({24, 40}, 1);
  ASSERT_TRUE(HasCpuLinear(w));
  const at::Tensor x = this->Random({2, 3, 40}, 2);
  const at::Tensor y = CpuLinear(x, w);
  EXPECT_EQ(y.sizes(), (std::vector<int64_t>{2, 3, 24}));
  EXPECT_TRUE(at::equal(y.view({6, 24}), ByDefinition<TypeParam>(x.view({6, 40}), w)));
  const at::Tensor turned = this->Random({40, 6}, 2).t();
  EXPECT_TRUE(at::equal(CpuLinear(turned, w), ByDefinition<TypeParam>(turned, w)));
  EXPECT_EQ(CpuLinear(x.view({6, 40}).narrow(0, 0, 0), w).sizes(), (std::vector<int64_t>{0, 24}));
}

TYPED_TEST(CpuLinearOf, RefusesWhatDoesNotFit) {
  const at::Tensor w = this->Random({9, 21}, 1);
  EXPECT_THROW(CpuLinear(this->Random({3, 20}, 2), w), c10::Error);
  for (const at::ScalarType other : {at::kDouble, at::kFloat, at::kBFloat16}) {
    if (other == kDtype<TypeParam>) continue;
    EXPECT_THROW(CpuLinear(this->Random({3, 21}, 2).to(other), w), c10::Error);
  }
  const at::Tensor weights = this->Random({2, 9, 21}, 1);
  for (const std::vector<int32_t>& ends : {std::vector<int32_t>{2, 1}, {1, 2}, {1, 4}}) {
    EXPECT_THROW(CpuGroupedLinear(this->Random({3, 21}, 2), weights, at::tensor(ends)), c10::Error);
  }
}

TEST(CpuLinear, IsNotForOthers) {
  const at::Tensor w = RandomTensor({9, 21}, 1);
  EXPECT_FALSE(HasCpuLinear(w.to(at::kHalf)));
  EXPECT_FALSE(HasCpuLinear(w.to(at::kDouble)));
  EXPECT_FALSE(HasCpuLinear(w.t()));
  EXPECT_FALSE(HasCpuLinear(w.to(at::kBFloat16).t()));
}

TYPED_TEST(CpuLinearOf, GroupsAreEachTheirOwnProduct) {
  const at::Tensor weights = this->Random({5, 70, 33}, 1);
  ASSERT_TRUE(HasCpuLinear(weights));
  const std::vector<int32_t> ends = {3, 3, 300, 301, 1100};
  const at::Tensor x = this->Random({1100, 33}, 2);
  const at::Tensor y = CpuGroupedLinear(x, weights, at::tensor(ends));
  ASSERT_EQ(y.sizes(), (std::vector<int64_t>{1100, 70}));
  int64_t first = 0;
  for (size_t group = 0; group < ends.size(); ++group) {
    const int64_t rows = ends[group] - first;
    EXPECT_TRUE(at::equal(y.narrow(0, first, rows),
                          ByDefinition<TypeParam>(x.narrow(0, first, rows),
                                                  weights.select(0, static_cast<int64_t>(group)))))
        << group;
    first = ends[group];
  }
}

}  // namespace
}  // namespace hookwire::model
#endif
