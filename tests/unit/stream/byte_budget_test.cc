#include "server/stream/byte_budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <utility>

#include "absl/synchronization/notification.h"

namespace hookwire::server {
namespace {

// Small enough to wait whole.
constexpr uint64_t kSmall = 10;
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

TEST(ByteBudget, AResultThatFitsIntoHalfMayWaitWholeAndALargerOneGetsAQuarter) {
  const auto budget = ByteBudget::Create(100);
  EXPECT_EQ(budget->Open(50)->share(), 50u);
  EXPECT_EQ(budget->Open(51)->share(), 25u);
}

TEST(ByteBudget, BoundsAllAccountsTogether) {
  const auto budget = ByteBudget::Create(100);
  const auto first = budget->Open(kSmall);
  const auto second = budget->Open(kSmall);
  const auto third = budget->Open(kSmall);
  const auto a = first->TryAcquire(50);
  const auto b = second->TryAcquire(30);
  EXPECT_FALSE(third->TryAcquire(21).has_value());
  EXPECT_TRUE(third->TryAcquire(20).has_value());
}

TEST(ByteBudget, BoundsEachAccountByItsShare) {
  const auto budget = ByteBudget::Create(100);
  const auto one = budget->Open(kLarge);
  const auto other = budget->Open(kLarge);
  const auto lease = one->TryAcquire(25);
  ASSERT_TRUE(lease.has_value());
  EXPECT_FALSE(one->TryAcquire(1).has_value());
  EXPECT_TRUE(other->TryAcquire(25).has_value());
}

TEST(ByteBudget, LetsWhatIsLargerThanTheLimitPassAlone) {
  const auto budget = ByteBudget::Create(100);
  const auto one = budget->Open(kLarge);
  const auto other = budget->Open(kLarge);
  auto small = other->TryAcquire(1);
  EXPECT_FALSE(one->TryAcquire(1000).has_value());
  small.reset();
  const auto large = one->TryAcquire(1000);
  ASSERT_TRUE(large.has_value());
  EXPECT_FALSE(one->TryAcquire(1).has_value());
  EXPECT_FALSE(other->TryAcquire(1).has_value());
}

TEST(ByteBudget, LetsAnEmptyAccountExceedItsShareWithinTheLimit) {
  const auto budget = ByteBudget::Create(100);
  const auto one = budget->Open(kLarge);
  const auto other = budget->Open(kSmall);
  const auto small = other->TryAcquire(20);
  EXPECT_TRUE(one->TryAcquire(80).has_value());
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
