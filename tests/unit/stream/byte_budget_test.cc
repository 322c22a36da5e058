#include "server/stream/byte_budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
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
