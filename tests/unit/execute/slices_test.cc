#include "server/execute/slices.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>

#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hookwire::server {
namespace {

AxisPick Range(int64_t start, int64_t count, int64_t step = 1) {
  return AxisPick{start, step, count, {}};
}
AxisPick List(const std::vector<int64_t>& indices) {
  return AxisPick{0, 1, static_cast<int64_t>(indices.size()), at::tensor(indices, at::kLong)};
}

int64_t At(const AxisPick& pick, int64_t i) {
  return pick.IsRange() ? pick.start + i * pick.step : pick.indices[i].item<int64_t>();
}

// [3, 4, 5], each element its own place.
at::Tensor Numbers() { return at::arange(60, at::kFloat).reshape({3, 4, 5}); }

const std::vector<std::vector<AxisPick>>& AllPicks() {
  static const auto* picks = new std::vector<std::vector<AxisPick>>{
      {Range(0, 3), Range(0, 4), Range(0, 5)},
      {Range(1, 1), Range(0, 2, 3), Range(1, 2, 2)},
      {List({2, 0}), Range(1, 2), Range(0, 5)},
      {Range(0, 3), List({3, 0, 1}), Range(2, 3)},
      {List({2, 0}), Range(0, 2, 2), List({4, 1, 0})},
      {List({1, 2, 0}), List({3, 0}), List({0, 4, 2})},
  };
  return *picks;
}

TEST(Slices, ReadThePickedElementsInTheirOrder) {
  const at::Tensor numbers = Numbers();
  for (const std::vector<AxisPick>& picks : AllPicks()) {
    const at::Tensor slice = ReadSlice(numbers, picks);
    ASSERT_EQ(slice.sizes().vec(),
              (std::vector<int64_t>{picks[0].count, picks[1].count, picks[2].count}));
    for (int64_t i = 0; i < slice.size(0); ++i) {
      for (int64_t j = 0; j < slice.size(1); ++j) {
        for (int64_t k = 0; k < slice.size(2); ++k) {
          EXPECT_EQ(slice[i][j][k].item<float>(),
                    20 * At(picks[0], i) + 5 * At(picks[1], j) + At(picks[2], k));
        }
      }
    }
  }
}

TEST(Slices, AreViewsWhereAllPicksAreRanges) {
  const at::Tensor numbers = Numbers();
  EXPECT_TRUE(ReadSlice(numbers, AllPicks()[1]).is_alias_of(numbers));
  EXPECT_FALSE(ReadSlice(numbers, AllPicks()[2]).is_alias_of(numbers));
}

TEST(Slices, ChangeThePickedElementsAndNoOthers) {
  for (const std::vector<AxisPick>& picks : AllPicks()) {
    const at::Tensor numbers = Numbers();
    ChangeSlice(numbers, picks, [&](at::Tensor& part) {
      EXPECT_TRUE(at::equal(part, ReadSlice(Numbers(), picks)));
      part.add_(1000);
    });
    // The same element by element.
    at::Tensor expected = Numbers();
    for (int64_t i = 0; i < picks[0].count; ++i) {
      for (int64_t j = 0; j < picks[1].count; ++j) {
        for (int64_t k = 0; k < picks[2].count; ++k) {
          expected[At(picks[0], i)][At(picks[1], j)][At(picks[2], k)].add_(1000);
        }
      }
    }
    EXPECT_TRUE(at::equal(numbers, expected)) << numbers << expected;
  }
}

}  // namespace
}  // namespace hookwire::server
