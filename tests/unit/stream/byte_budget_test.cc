#include "server/stream/byte_budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"

namespace hookwire::server {
namespace {

constexpr uint64_t kSmall = 10;
// More than any budget here.
constexpr uint64_t kLarge = 1000;

TEST(ByteBudget, GivesWhatFitsAndTakesItBack) {
  const auto budget = ByteBudget::Create(200);
  const auto account = budget->Open(kSmall);
  {
    const auto lease = account->TryAcquire(60);
    ASSERT_TRUE(lease.has_value());
    EXPECT_EQ(budget->held(), 60u);
    EXPECT_FALSE(account->TryAcquire(41).has_value());
    EXPECT_TRUE(account->TryAcquire(40).has_value());
  }
  EXPECT_EQ(budget->held(), 0u);
  EXPECT_EQ(budget->peak(), 100u);
}

TEST(ByteBudget, SplitsHalfAmongPacedAccounts) {
  const auto budget = ByteBudget::Create(100, 2);
  const auto one = budget->Open(kLarge);
  const auto other = budget->Open(kLarge);
  EXPECT_EQ(one->share(), 25u);
  const auto lease = one->TryAcquire(25);
  ASSERT_TRUE(lease.has_value());
  EXPECT_FALSE(one->TryAcquire(1).has_value());
  EXPECT_TRUE(other->TryAcquire(25).has_value());
}

TEST(ByteBudget, ATensorLargerThanTheSharePassesWhileTheAccountHoldsNothing) {
  const auto budget = ByteBudget::Create(100, 2);
  const auto account = budget->Open(kLarge);
  const auto large = account->TryAcquire(1000);
  ASSERT_TRUE(large.has_value());
  EXPECT_TRUE(account->IsOverShare());
  EXPECT_FALSE(account->TryAcquire(1).has_value());
  EXPECT_TRUE(budget->Open(kLarge)->TryAcquire(1000).has_value()) << "who waits for his own reader";
}

TEST(ByteBudget, AReservationIsAcquiredWithoutWaiting) {
  const auto budget = ByteBudget::Create(100);
  const auto account = budget->Open(20, "alice");
  ASSERT_TRUE(account->MayReserve());
  ASSERT_TRUE(account->Reserve());
  EXPECT_TRUE(account->Reserve()) << "once is enough";
  EXPECT_EQ(budget->held(), 20u);
  auto first = account->TryAcquire(15);
  const auto second = account->TryAcquire(5);
  EXPECT_TRUE(first.has_value() && second.has_value());
  EXPECT_FALSE(account->IsOverShare());
  EXPECT_EQ(budget->held(), 20u);
  first.reset();
  EXPECT_EQ(budget->held(), 5u);
}

TEST(ByteBudget, WhatIsOverAQuarterIsNeverReserved) {
  const auto budget = ByteBudget::Create(100);
  EXPECT_TRUE(budget->Open(25)->Reserve());
  const auto large = budget->Open(26);
  EXPECT_FALSE(large->MayReserve());
  EXPECT_FALSE(large->Reserve());
}

TEST(ByteBudget, SlowReadersLeaveRoomForThoseThatComeLater) {
  const auto budget = ByteBudget::Create(800);
  std::vector<std::shared_ptr<ByteBudget::Account>> slow;
  // Each takes as much as it gets.
  for (const char* client : {"a", "b", "c", "d"}) {
    while (true) {
      auto account = budget->Open(1, client);
      if (!account->Reserve()) break;
      slow.push_back(std::move(account));
    }
  }
  EXPECT_EQ(budget->held(), 200u + 100 + 50 + 25);
  EXPECT_TRUE(budget->Open(10, "late")->Reserve());
  EXPECT_FALSE(budget->Open(1, "a")->Reserve());
}

TEST(ByteBudget, WhatIsReservedAfterAClaimLeavesRoomForTheClaimant) {
  const auto budget = ByteBudget::Create(400);
  auto before = budget->Open(50, "before");
  ASSERT_TRUE(before->Reserve());
  const auto large = budget->Open(80, "large");
  // It needs 80, and as much again for others, of 200.
  EXPECT_FALSE(large->Reserve(/*claim=*/true));
  const auto after = budget->Open(30, "after");
  EXPECT_TRUE(after->Reserve()) << "30 + 2 * 80 fit";
  const auto late = budget->Open(20, "late");
  EXPECT_FALSE(late->Reserve()) << "30 + 20 + 2 * 80 do not";
  EXPECT_TRUE(budget->Open(0, "nothing")->Reserve());
  EXPECT_FALSE(large->Reserve(/*claim=*/true));
  before.reset();
  EXPECT_TRUE(large->Reserve(/*claim=*/true));
  EXPECT_TRUE(late->Reserve());
}

TEST(ByteBudget, ALargeResultFindsRoomBesideASteadyFlowOfSmallOnes) {
  constexpr uint64_t kMiB = 1 << 20;
  const auto budget = ByteBudget::Create(256 * kMiB, 8);
  const auto large = budget->Open(60 * kMiB, "large");
  std::deque<std::shared_ptr<ByteBudget::Account>> small;
  // Of 16 clients, one result after another: as the oldest has been read, a new one comes.
  int number = 0;
  const auto next = [&] {
    auto account = budget->Open(2 * kMiB, std::to_string(number++ % 16));
    if (account->Reserve()) small.push_back(std::move(account));
  };
  for (int i = 0; i < 16; ++i) next();
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(large->Reserve()) << "for ever";
    small.pop_front();
    next();
  }
  int steps = 0;
  while (!large->Reserve(/*claim=*/true)) {
    ASSERT_LT(++steps, 17) << "once all that was reserved before has been read";
    small.pop_front();
    next();
  }
  EXPECT_GT(steps, 0);
}

TEST(ByteBudget, AClaimEndsWithItsAccountOrWithoutFurtherInterest) {
  const auto budget = ByteBudget::Create(400);
  const auto before = budget->Open(50, "before");
  ASSERT_TRUE(before->Reserve());
  int calls = 0;
  budget->NotifyRoom([&calls] { ++calls; });
  const auto other = budget->Open(60, "other");
  {
    const auto large = budget->Open(80, "large");
    EXPECT_FALSE(large->Reserve(/*claim=*/true));
    EXPECT_FALSE(other->Reserve());
    EXPECT_FALSE(large->Reserve()) << "it goes another way";
    EXPECT_TRUE(other->Reserve());
    other->EndReservation();
    calls = 0;
    EXPECT_FALSE(large->Reserve(/*claim=*/true));
  }
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(budget->Open(60, "other")->Reserve());
  budget->NotifyRoom(nullptr);
}

TEST(ByteBudget, WhoHoldsReservationsHasNoClaim) {
  const auto budget = ByteBudget::Create(400);
  const auto own = budget->Open(50, "slow reader");
  ASSERT_TRUE(own->Reserve());
  const auto more = budget->Open(90, "slow reader");
  EXPECT_FALSE(more->Reserve(/*claim=*/true)) << "it waits for its own client";
  EXPECT_TRUE(budget->Open(70, "other")->Reserve());
}

TEST(ByteBudget, TellsWhenAReservationShrinks) {
  const auto budget = ByteBudget::Create(100);
  int calls = 0;
  budget->NotifyRoom([&calls] { ++calls; });
  const auto account = budget->Open(20);
  ASSERT_TRUE(account->Reserve());
  account->TryAcquire(5).reset();
  EXPECT_EQ(calls, 1);
  account->EndReservation();
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(budget->held(), 0u);
  account->EndReservation();
  EXPECT_EQ(calls, 2);
  auto late = budget->Open(20);
  ASSERT_TRUE(late->Reserve());
  budget->NotifyRoom(nullptr);
  late.reset();
  EXPECT_EQ(budget->held(), 0u);
  EXPECT_EQ(calls, 2);
}

TEST(ByteBudget, AcquireWaitsForBytesToComeBack) {
  const auto budget = ByteBudget::Create(200);
  const auto account = budget->Open(kSmall);
  auto first = account->TryAcquire(100);
  absl::Notification acquired;
  std::thread waiter([&] {
    const auto lease = account->Acquire(10, [] { return false; });
    EXPECT_TRUE(lease.has_value());
    acquired.Notify();
  });
  EXPECT_FALSE(acquired.WaitForNotificationWithTimeout(absl::Milliseconds(20)));
  first.reset();
  waiter.join();
}

TEST(ByteBudget, AcquireEndsWhenTheStreamGivesUp) {
  const auto budget = ByteBudget::Create(200);
  const auto account = budget->Open(kSmall);
  const auto first = account->TryAcquire(100);
  std::atomic<bool> given_up = false;
  std::thread waiter(
      [&] { EXPECT_FALSE(account->Acquire(10, [&] { return given_up.load(); }).has_value()); });
  given_up = true;
  account->Wake();
  waiter.join();
  EXPECT_EQ(budget->held(), 100u);
}

TEST(ByteBudget, LeaseOutlivesItsAccountAndBudget) {
  std::optional<ByteBudget::Lease> lease;
  {
    const auto budget = ByteBudget::Create(200);
    lease = budget->Open(kSmall)->TryAcquire(10);
  }
  lease.reset();
}

}  // namespace
}  // namespace hookwire::server
