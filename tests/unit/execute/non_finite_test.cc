#include "server/execute/non_finite.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "gtest/gtest.h"

namespace hookwire::server {
namespace {

constexpr at::ScalarType kDtypes[] = {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble};
// Around the sizes of the blocks in which the bits are looked at.
constexpr int64_t kSizes[] = {1, 2, 63, 64, 65, 4095, 4096, 4097, 10'000};

TEST(NonFinite, CountsNothingInFiniteTensors) {
  for (const at::ScalarType dtype : kDtypes) {
    EXPECT_FALSE(CountNonFinite(at::empty({0}, dtype)).any());
    for (const int64_t size : kSizes) {
      for (const double number : {0.0, -0.0, 1.0, -65504.0, 6e-8}) {
        EXPECT_FALSE(CountNonFinite(at::full({size}, number, dtype)).any()) << number;
      }
    }
  }
  const double largest = std::numeric_limits<float>::max();
  EXPECT_FALSE(CountNonFinite(at::full({100}, largest, at::kFloat)).any());
}

TEST(NonFinite, CountsEachKindWhereverItStands) {
  for (const at::ScalarType dtype : kDtypes) {
    for (const int64_t size : kSizes) {
      at::Tensor tensor = at::full({size}, -1.5, dtype);
      tensor[0].fill_(-INFINITY);
      tensor[size - 1].fill_(NAN);
      NonFiniteElements found = CountNonFinite(tensor);
      EXPECT_EQ(found.nan, 1u);
      EXPECT_EQ(found.inf, size > 1 ? 1u : 0u);
      tensor[size / 2].fill_(INFINITY);
      found = CountNonFinite(tensor);
      EXPECT_EQ(found.nan + found.inf, static_cast<uint64_t>(std::min<int64_t>(size, 3)));
    }
    const NonFiniteElements all = CountNonFinite(at::full({5000}, NAN, dtype));
    EXPECT_EQ(all.nan, 5000u);
    EXPECT_EQ(all.inf, 0u);
  }
}

TEST(NonFinite, TakesIntegersAsFinite) {
  EXPECT_FALSE(CountNonFinite(at::full({100}, INT64_MAX, at::kLong)).any());
}

// Where the copy begins behind a boundary of 16 bytes, and how many bytes it has: those that are
// copied past the cache, and those that are not.
TEST(NonFinite, IsCountedInWhatIsCopied) {
  for (const at::ScalarType dtype :
       {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble, at::kLong}) {
    const auto element = static_cast<int64_t>(c10::elementSize(dtype));
    for (const int64_t size : {int64_t{1}, int64_t{1000}, (1 << 20) / element - 1,
                               (1 << 20) / element, (3 << 20) / element + 1}) {
      at::Tensor tensor = at::arange(size, at::kLong).remainder(251).to(dtype);
      if (dtype != at::kLong) {
        tensor[size / 2].fill_(INFINITY);
        tensor[size - 1].fill_(NAN);
      }
      const NonFiniteElements expected = CountNonFinite(tensor);
      for (const int64_t behind : {0, 2, 8}) {
        at::Tensor memory = at::zeros({size * element + 64}, at::kByte);
        auto* const begin = memory.mutable_data_ptr<uint8_t>();
        uint8_t* const to = begin + (-reinterpret_cast<uintptr_t>(begin) & 15) + behind;
        const NonFiniteElements found = CopyAndCountNonFinite(tensor, to);
        EXPECT_EQ(found.nan, expected.nan);
        EXPECT_EQ(found.inf, expected.inf);
        ASSERT_EQ(std::memcmp(to, tensor.const_data_ptr(), tensor.nbytes()), 0) << size;
        EXPECT_EQ(to[tensor.nbytes()], 0) << "written behind the end";
      }
    }
  }
}

}  // namespace
}  // namespace hookwire::server
