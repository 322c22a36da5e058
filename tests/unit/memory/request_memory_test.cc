#include "server/memory/request_memory.h"

#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"

namespace hookwire::server {
namespace {

TEST(RequestMemory, GivesBackWhatALeaseHeld) {
  const auto memory = RequestMemory::Create(1000);
  {
    const auto lease = memory->Open("a");
    EXPECT_TRUE(lease->Grow(100).ok());
    EXPECT_TRUE(lease->Grow(200).ok());
    EXPECT_EQ(memory->held(), 300u);
    EXPECT_TRUE(lease->Resize(50).ok());
    EXPECT_EQ(memory->held(), 50u);
  }
  EXPECT_EQ(memory->held(), 0u);
}

TEST(RequestMemory, AClientMayHaveHalfAndTheLastOneFindsRoom) {
  const auto memory = RequestMemory::Create(1024);
  std::vector<std::unique_ptr<RequestMemory::Lease>> leases;
  // 512, 256, 128, …: each client takes all that it may.
  for (uint64_t share = 512; share > 0; share /= 2) {
    leases.push_back(memory->Open(absl::StrCat("client ", share)));
    EXPECT_FALSE(leases.back()->Grow(share + 1).ok()) << share;
    EXPECT_TRUE(leases.back()->Grow(share).ok()) << share;
  }
  EXPECT_EQ(memory->held(), 1023u);
}

TEST(RequestMemory, LeasesOfOneClientShare) {
  const auto memory = RequestMemory::Create(1000);
  const auto first = memory->Open("a");
  const auto second = memory->Open("a");
  EXPECT_TRUE(first->Grow(400).ok());
  EXPECT_FALSE(second->Grow(101).ok());
  EXPECT_EQ(second->bytes(), 0u);
  EXPECT_TRUE(second->Grow(100).ok());
  EXPECT_TRUE(memory->Open("b")->Grow(250).ok());
}

TEST(RequestMemory, RefusesWithNumbersAndSaysWhetherWaitingHelps) {
  const auto memory = RequestMemory::Create(1000);
  const auto held = memory->Open("a");
  ASSERT_TRUE(held->Grow(300).ok());
  const absl::Status later = memory->Open("a")->Grow(400);
  EXPECT_EQ(later.code(), absl::StatusCode::kResourceExhausted);
  const ErrorDetails details = DetailsOf(later);
  EXPECT_EQ(details.reason, v1::ERROR_REASON_REQUEST_MEMORY_FULL);
  EXPECT_TRUE(details.retry);
  const std::vector<std::pair<std::string, std::string>> numbers = {
      {"bytes", "400"}, {"held", "300"}, {"limit", "1000"}};
  EXPECT_EQ(details.metadata, numbers);
  EXPECT_FALSE(DetailsOf(memory->Open("b")->Grow(501)).retry);
  EXPECT_FALSE(memory->Open("b")->Grow(std::numeric_limits<uint64_t>::max()).ok());
  EXPECT_EQ(memory->held(), 300u);
}

}  // namespace
}  // namespace hookwire::server
