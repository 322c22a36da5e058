#include "server/rpc/planning_threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "server/errors/errors.h"

namespace hookwire::server {
namespace {

TEST(PlanningThreads, OneClientHasOneJobAtATimeAndAnotherDoesNotWaitForIt) {
  PlanningThreads threads({.threads = 2, .max_waiting = 100});
  absl::Notification go_on;
  std::atomic<int> done = 0;
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(threads
                    .Enqueue("many",
                             [&] {
                               go_on.WaitForNotification();
                               ++done;
                             })
                    .ok());
  }
  absl::Notification other;
  ASSERT_TRUE(threads.Enqueue("one", [&] { other.Notify(); }).ok());
  other.WaitForNotification();
  EXPECT_EQ(done, 0);
  go_on.Notify();
}

TEST(PlanningThreads, ClientsTakeTurns) {
  absl::Mutex mutex;
  std::vector<std::string> order;
  {
    PlanningThreads threads({.threads = 1, .max_waiting = 100});
    absl::Notification begun;
    absl::Notification go_on;
    ASSERT_TRUE(threads
                    .Enqueue("b",
                             [&] {
                               begun.Notify();
                               go_on.WaitForNotification();
                             })
                    .ok());
    begun.WaitForNotification();
    for (const std::string client : {"b", "b", "b", "a", "c", "a"}) {
      ASSERT_TRUE(threads
                      .Enqueue(client,
                               [&, client] {
                                 absl::MutexLock lock(&mutex);
                                 order.push_back(client);
                               })
                      .ok());
    }
    go_on.Notify();
  }
  EXPECT_EQ(order, (std::vector<std::string>{"c", "a", "b", "a", "b", "b"}));
}

TEST(PlanningThreads, OneClientFillsHalfOfTheQueueAndTheLastComerFindsAPlace) {
  absl::Notification go_on;
  std::atomic<int> done = 0;
  {
    PlanningThreads threads({.threads = 1, .max_waiting = 8});
    absl::Notification begun;
    ASSERT_TRUE(threads
                    .Enqueue("first",
                             [&] {
                               begun.Notify();
                               go_on.WaitForNotification();
                             })
                    .ok());
    begun.WaitForNotification();
    const auto job = [&] { ++done; };
    int taken = 0;
    absl::Status status;
    while ((status = threads.Enqueue("many", job)).ok()) ++taken;
    EXPECT_EQ(taken, 4);
    EXPECT_EQ(DetailsOf(status).reason, v1::ERROR_REASON_QUEUE_FULL);
    EXPECT_TRUE(threads.Enqueue("other", job).ok());
    go_on.Notify();
  }
  EXPECT_EQ(done, 5);
}

}  // namespace
}  // namespace hookwire::server
