// Who gets memory, which runs get it, and when it is given back.

#include "server/local/shared_memory.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "tests/unit/local/eventually.h"
#include "tests/unit/local/memory_files.h"
#include "tests/unit/local/plan_of.h"
#include "tests/unit/local/shared_client.h"
#include "tests/unit/support/fake_clock.h"

namespace hookwire::server {
namespace {

constexpr uint64_t kBlock = Segment::kBlock;

class SharedMemoryTest : public ::testing::Test {
 protected:
  SharedMemoryTest() { Make({.max_bytes = 4 * kBlock}); }

  void Make(const SharedMemory::Options& options) {
    memory_ = nullptr;
    auto memory = SharedMemory::Create(options, clock_);
    ASSERT_TRUE(memory.ok()) << memory.status();
    memory_ = *std::move(memory);
  }

  std::unique_ptr<SharedResult> Lend(const SharedClient& client, uint64_t bytes) {
    return memory_->Lend(client.token(), PlanOf({bytes}));
  }

  // A whole run, up to the client's byte.
  void RunToEnd(const SharedClient& client, uint64_t bytes) {
    ASSERT_NE(Lend(client, bytes), nullptr);
    client.SayRead();
    // The server knows at the latest when it is asked again.
    ASSERT_NE(Lend(client, bytes), nullptr);
    client.SayRead();
  }

  FakeClock clock_;
  std::unique_ptr<SharedMemory> memory_;
};

TEST_F(SharedMemoryTest, ARunsTensorsAreWhereTheClientReads) {
  const SharedClient client(*memory_);
  ASSERT_EQ(client.token().size(), 16u);
  const auto result = memory_->Lend(client.token(), PlanOf({1'000'000, 7, 300'000}));
  ASSERT_NE(result, nullptr);
  for (const auto& [index, offset, text] :
       {std::tuple{0u, 999'998u, "ab"}, {1u, 0u, "tensors"}, {2u, 0u, "cd"}}) {
    const uint64_t size = std::strlen(text);
    uint8_t* const place = result->Buffer(index, offset, size);
    ASSERT_NE(place, nullptr);
    std::memcpy(place, text, size);
    const std::optional<uint64_t> at = result->Find(place);
    ASSERT_TRUE(at.has_value());
    EXPECT_EQ(std::memcmp(client.data() + *at, text, size), 0) << text;
  }
  // None lies over another.
  EXPECT_GE(*result->Find(result->Buffer(1, 0, 7)),
            *result->Find(result->Buffer(0, 0, 1)) + 1'000'000);
  EXPECT_GE(*result->Find(result->Buffer(2, 0, 1)), *result->Find(result->Buffer(1, 0, 7)) + 7);
}

TEST_F(SharedMemoryTest, OtherMemoryIsNotFoundThere) {
  const SharedClient client(*memory_);
  const auto result = Lend(client, kBlock);
  const char elsewhere = 0;
  EXPECT_FALSE(result->Find(&elsewhere).has_value());
  EXPECT_FALSE(result->Find(nullptr).has_value());
}

TEST_F(SharedMemoryTest, WhatDoesNotQualifyGoesInMessages) {
  const SharedClient client(*memory_);
  EXPECT_EQ(memory_->Lend("", PlanOf({kBlock})), nullptr);
  EXPECT_EQ(memory_->Lend("0123456789abcdef", PlanOf({kBlock})), nullptr);
  EXPECT_EQ(memory_->Lend(client.token().substr(1), PlanOf({kBlock})), nullptr);
  EXPECT_EQ(Lend(client, 1000), nullptr) << "small";
  EXPECT_EQ(Lend(client, 4 * kBlock + 1), nullptr) << "more than there is";
  RunPlan asks = PlanOf({kBlock});
  asks.ops.emplace_back().tensors.emplace_back();
  EXPECT_EQ(memory_->Lend(client.token(), asks), nullptr) << "a callback";
  EXPECT_NE(Lend(client, 4 * kBlock), nullptr);
}

TEST_F(SharedMemoryTest, TheNextRunGetsItWhenTheClientHasReadTheOneBefore) {
  const SharedClient client(*memory_);
  auto first = Lend(client, kBlock);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(Lend(client, kBlock), nullptr) << "the first still writes";
  first = nullptr;
  EXPECT_EQ(Lend(client, kBlock), nullptr) << "the client still reads";
  client.SayRead();
  EXPECT_NE(Lend(client, kBlock), nullptr);
}

TEST_F(SharedMemoryTest, ClientsHaveMemoryOfTheirOwn) {
  const SharedClient one(*memory_);
  const SharedClient other(*memory_);
  const auto result = Lend(one, kBlock);
  const auto others = Lend(other, kBlock);
  *result->Buffer(0, 0, 1) = 'a';
  *others->Buffer(0, 0, 1) = 'b';
  EXPECT_EQ(*one.data(), 'a');
  EXPECT_EQ(*other.data(), 'b');
}

TEST_F(SharedMemoryTest, TogetherTheyKeepToTheLimit) {
  const SharedClient one(*memory_);
  const SharedClient other(*memory_);
  auto result = Lend(one, 3 * kBlock);
  ASSERT_NE(result, nullptr);
  EXPECT_EQ(Lend(other, 2 * kBlock), nullptr);
  auto fits = Lend(other, kBlock);
  EXPECT_NE(fits, nullptr);
  EXPECT_EQ(memory_->held(), 4 * kBlock);
}

TEST_F(SharedMemoryTest, MemoryThatNobodyUsesGoesToWhoeverNeedsIt) {
  const SharedClient one(*memory_);
  const SharedClient other(*memory_);
  RunToEnd(one, 3 * kBlock);
  ASSERT_TRUE(Eventually([&] { return Lend(other, 2 * kBlock) != nullptr; }));
  EXPECT_EQ(memory_->held(), 2 * kBlock);
}

TEST_F(SharedMemoryTest, MemoryThatAClientStillReadsStays) {
  const SharedClient one(*memory_);
  const SharedClient other(*memory_);
  auto result = Lend(one, 3 * kBlock);
  *result->Buffer(0, 0, 1) = 'a';
  result = nullptr;
  EXPECT_EQ(Lend(other, 2 * kBlock), nullptr);
  EXPECT_EQ(*one.data(), 'a');
}

TEST_F(SharedMemoryTest, IdleMemoryIsGivenBackInTime) {
  const SharedClient client(*memory_);
  RunToEnd(client, 2 * kBlock);
  EXPECT_EQ(memory_->held(), 2 * kBlock);
  memory_->FreeIdle(clock_.Now() + absl::Seconds(9));
  EXPECT_EQ(memory_->held(), 2 * kBlock);
  ASSERT_TRUE(Eventually([&] {
    memory_->FreeIdle(clock_.Now() + absl::Seconds(10));
    return memory_->held() == 0;
  }));
  EXPECT_NE(Lend(client, 2 * kBlock), nullptr);
}

TEST_F(SharedMemoryTest, AClientThatGoesLeavesNothing) {
  const int before = CountMemoryFiles();
  {
    SharedClient client(*memory_);
    ASSERT_NE(Lend(client, kBlock), nullptr);
    client.HangUp();
    EXPECT_TRUE(Eventually([&] { return memory_->held() == 0; }));
    EXPECT_EQ(Lend(client, kBlock), nullptr);
  }
  EXPECT_TRUE(Eventually([&] { return CountMemoryFiles() == before; }));
}

TEST_F(SharedMemoryTest, AClientThatGoesInTheMiddleLeavesNothingWhenItsRunEnds) {
  const int before = CountMemoryFiles();
  std::unique_ptr<SharedResult> result;
  {
    SharedClient client(*memory_);
    result = Lend(client, kBlock);
  }
  EXPECT_NE(result->Buffer(0, 0, kBlock), nullptr);
  EXPECT_EQ(memory_->held(), kBlock);
  result = nullptr;
  EXPECT_TRUE(Eventually([&] { return memory_->held() == 0; }));
  EXPECT_TRUE(Eventually([&] { return CountMemoryFiles() == before; }));
}

TEST_F(SharedMemoryTest, ThereAreOnlySoManyClients) {
  Make({.max_bytes = 4 * kBlock, .max_clients = 1});
  const SharedClient first(*memory_);
  EXPECT_NE(first.token(), "");
  EXPECT_EQ(SharedClient(*memory_).token(), "");
}

TEST_F(SharedMemoryTest, AnotherUserIsHungUpOn) {
  // Only root can become another user; for others the rule itself is tested (MayHave).
  const bool can_change = geteuid() == 0;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const bool changed = can_change && setuid(65534) == 0;
    const SharedClient client(*memory_);
    _exit(client.token().empty() == changed ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(SharedMemoryTest, TokensAndNamesAreNotToBeGuessed) {
  const SharedClient one(*memory_);
  const SharedClient other(*memory_);
  EXPECT_NE(one.token(), other.token());
  const std::string name = memory_->socket();
  Make({});
  EXPECT_NE(memory_->socket(), name);
  EXPECT_GE(name.size(), 32u);
}

}  // namespace
}  // namespace hookwire::server
