#include "server/schedule/fair_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/schedule/fake_output.h"

namespace hookwire::server {
namespace {

using ::testing::ElementsAre;

class FairQueueTest : public testing::Test {
 protected:
  void Push(const std::string& id, const std::string& client, uint64_t tokens,
            Priority priority = Priority::kNormal, double weight = 1) {
    auto run = MakeRun(id, client, tokens, nullptr);
    run->priority = priority;
    run->weight = weight;
    time_ += absl::Seconds(1);
    queue_.Push({.run = std::move(run), .enqueued = time_});
  }
  static bool Any(const WaitingRun&) { return true; }
  std::string Pop() {
    const auto waiting = queue_.Pop(Any);
    return waiting ? waiting->run->id : "";
  }
  std::vector<std::string> PopAll() {
    std::vector<std::string> ids;
    while (!queue_.empty()) ids.push_back(Pop());
    return ids;
  }

  // By client: tokens among the first `tokens` tokens that leave the queue.
  std::map<std::string, uint64_t> Served(uint64_t tokens) {
    std::map<std::string, uint64_t> served;
    for (uint64_t all = 0; all < tokens;) {
      const auto waiting = queue_.Pop(Any);
      served[waiting->run->client] += waiting->run->plan->total_tokens;
      all += waiting->run->plan->total_tokens;
    }
    return served;
  }

  FairQueue queue_;
  absl::Time time_ = absl::UnixEpoch();
};

TEST_F(FairQueueTest, OneClientsRunsComeInTheirOrder) {
  for (const char* id : {"a", "b", "c"}) Push(id, "alice", 5);
  EXPECT_EQ(queue_.size(), 3u);
  EXPECT_EQ(queue_.tokens(), 15u);
  EXPECT_THAT(PopAll(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(queue_.tokens(), 0u);
  EXPECT_EQ(Pop(), "");
}

TEST_F(FairQueueTest, WhoSendsManyRunsDoesNotDelayWhoSendsOne) {
  for (int i = 0; i < 64; ++i) Push("flood", "alice", 10);
  EXPECT_EQ(Pop(), "flood");
  Push("small", "bob", 10);
  EXPECT_EQ(Pop(), "small");
}

TEST_F(FairQueueTest, SharesAreOfTokensNotOfRuns) {
  for (int i = 0; i < 100; ++i) Push("long", "alice", 100);
  for (int i = 0; i < 1000; ++i) Push("short", "bob", 10);
  const auto served = Served(4000);
  EXPECT_NEAR(static_cast<double>(served.at("alice")), 2000, 100);
  EXPECT_NEAR(static_cast<double>(served.at("bob")), 2000, 100);
}

TEST_F(FairQueueTest, WeightsAndPrioritiesMultiplyShares) {
  for (int i = 0; i < 1000; ++i) {
    Push("normal", "alice", 10);
    Push("high", "bob", 10, Priority::kHigh);
    Push("low", "carol", 10, Priority::kLow);
    Push("weighty", "dave", 10, Priority::kNormal, 2);
  }
  const auto served = Served(7250);
  EXPECT_NEAR(static_cast<double>(served.at("alice")), 1000, 50);
  EXPECT_NEAR(static_cast<double>(served.at("bob")), 4000, 50);
  EXPECT_NEAR(static_cast<double>(served.at("carol")), 250, 50);
  EXPECT_NEAR(static_cast<double>(served.at("dave")), 2000, 50);
}

TEST_F(FairQueueTest, AClientsHigherPriorityGoesFirst) {
  Push("low", "alice", 1, Priority::kLow);
  Push("normal", "alice", 1);
  Push("high", "alice", 1, Priority::kHigh);
  Push("normal too", "alice", 1);
  EXPECT_THAT(PopAll(), ElementsAre("high", "normal", "normal too", "low"));
}

TEST_F(FairQueueTest, ARunThatDoesNotFitIsPassedOverAndKeepsItsTurn) {
  Push("large", "alice", 100);
  Push("small", "bob", 1);
  Push("small too", "bob", 1);
  const auto small_ones = [](const WaitingRun& run) { return run.run->plan->total_tokens < 10; };
  EXPECT_EQ(queue_.Pop(small_ones)->run->id, "small");
  EXPECT_EQ(Pop(), "large");
  EXPECT_EQ(Pop(), "small too");
}

TEST_F(FairQueueTest, NobodyOvertakesHisOwnRunThatDoesNotFit) {
  Push("large", "alice", 100);
  Push("small", "alice", 1);
  EXPECT_FALSE(queue_.Pop([](const WaitingRun& run) { return run.run->plan->total_tokens < 10; }));
}

TEST_F(FairQueueTest, SendingOneByOneIsNoAdvantage) {
  for (int i = 0; i < 100; ++i) Push("flood", "alice", 10);
  uint64_t bobs = 0;
  Push("one", "bob", 100);
  for (int i = 0; i < 60; ++i) {
    if (Pop() != "one") continue;
    bobs += 100;
    Push("one", "bob", 100);
  }
  EXPECT_NEAR(static_cast<double>(bobs), 500, 100) << "as many tokens as alice's 55 runs";
}

TEST_F(FairQueueTest, TimeWithoutRunsIsNotSavedUp) {
  Push("b", "bob", 1);
  EXPECT_EQ(Pop(), "b");
  for (int i = 0; i < 100; ++i) Push("a", "alice", 10);
  for (int i = 0; i < 50; ++i) Pop();
  for (int i = 0; i < 10; ++i) Push("b", "bob", 10);
  int bobs = 0;
  for (int i = 0; i < 10; ++i) bobs += Pop() == "b" ? 1 : 0;
  EXPECT_NEAR(bobs, 5, 1);
}

TEST_F(FairQueueTest, TakesOutByIdAndByAge) {
  Push("a", "alice", 5);
  Push("b", "bob", 5);
  Push("c", "alice", 5);
  EXPECT_EQ(queue_.oldest(), absl::UnixEpoch() + absl::Seconds(1));
  EXPECT_EQ(queue_.size("alice"), 2u);
  EXPECT_EQ(queue_.Remove("a")->run->id, "a");
  EXPECT_FALSE(queue_.Remove("a"));
  std::vector<std::string> old;
  for (const WaitingRun& run : queue_.RemoveOlderThan(absl::UnixEpoch() + absl::Seconds(2))) {
    old.push_back(run.run->id);
  }
  EXPECT_THAT(old, ElementsAre("b"));
  EXPECT_EQ(queue_.size(), 1u);
  EXPECT_EQ(queue_.tokens(), 5u);
  EXPECT_EQ(queue_.RemoveAll().size(), 1u);
  EXPECT_TRUE(queue_.empty());
  EXPECT_EQ(queue_.oldest(), absl::InfiniteFuture());
}

}  // namespace
}  // namespace hookwire::server
