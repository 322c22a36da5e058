#include "server/execute/non_finite.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <cmath>
#include <cstdint>
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

}  // namespace
}  // namespace hookwire::server
