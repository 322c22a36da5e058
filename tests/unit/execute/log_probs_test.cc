#include "server/execute/log_probs.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/randn.h>

#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hookwire::server {
namespace {

const std::vector<int64_t> kRows = {4, 0, 0, 6, 4, 2, 4};
const std::vector<int64_t> kTokens = {1, 99, 0, 50, 1, 7, 98};

absl::Status GoOn() { return absl::OkStatus(); }

TEST(LogProbs, AreThoseOfLogSoftmaxInFloat32) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor logits = at::randn({7, 100}).to(dtype);
    const at::Tensor expected = at::log_softmax(logits.to(at::kFloat), -1);
    const at::Tensor found = *TargetLogProbs(logits, kRows, kTokens, GoOn);
    ASSERT_EQ(found.sizes().vec(), std::vector<int64_t>{7});
    EXPECT_EQ(found.scalar_type(), at::kFloat);
    for (size_t i = 0; i < kRows.size(); ++i) {
      EXPECT_EQ(found[static_cast<int64_t>(i)].item<float>(),
                expected[kRows[i]][kTokens[i]].item<float>());
    }
  }
}

TEST(LogProbs, DoNotDependOnHowManyRowsAreComputedAtOnce) {
  const at::Tensor logits = at::randn({7, 100});
  const at::Tensor whole = *TargetLogProbs(logits, kRows, kTokens, GoOn);
  for (const int64_t rows_at_once : {0, 1, 2, 3}) {
    EXPECT_TRUE(
        at::equal(*TargetLogProbs(logits, kRows, kTokens, GoOn, rows_at_once * 400), whole));
  }
}

TEST(LogProbs, EndBeforeTheNextBlockOnceNobodyWantsThem) {
  const at::Tensor logits = at::randn({7, 100});
  int blocks = 0;
  // kRows names four rows: four blocks of one.
  const auto found = TargetLogProbs(
      logits, kRows, kTokens,
      [&blocks] { return ++blocks == 3 ? absl::CancelledError("gone") : absl::OkStatus(); }, 400);
  EXPECT_EQ(found.status(), absl::CancelledError("gone"));
  EXPECT_EQ(blocks, 3);
}

TEST(LogProbs, OfNoTargetsAreEmpty) {
  EXPECT_EQ(TargetLogProbs(at::randn({1, 100}), {}, {}, GoOn)->numel(), 0);
}

}  // namespace
}  // namespace hookwire::server
