// Runs that do not end as planned: cancelled, abandoned, cut off, shut down.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "tests/e2e/support/daemon_test.h"
#include "tests/e2e/support/matchers.h"
#include "tests/e2e/support/slices.h"
#include "tests/e2e/support/tcp_proxy.h"

namespace hookwire::e2e {
namespace {

using client::Tensor;

using Lifetime = DaemonTest<Fast>;

// Every hook point of many long sequences: more than any buffer holds.
v1::RunSpec LargeSpec(int sequences) {
  v1::RunSpec spec;
  for (int i = 0; i < sequences; ++i) {
    *spec.add_sequences() = client::Tokens(LongPrompt(128, static_cast<uint32_t>(i)));
  }
  *spec.add_captures() = client::Capture("**");
  return spec;
}

absl::Status Ignore(const Tensor& /*tensor*/) { return absl::OkStatus(); }

TEST_F(Lifetime, TheFirstTensorComesBeforeThePassHasEnded) {
  const v1::RunSpec spec = LargeSpec(60);
  const auto plan = client().Plan(spec);
  ASSERT_THAT(StatusOf(plan), IsOk());
  ASSERT_GT(plan->total_bytes(), 400U << 20U);
  // The reader stands still at the first tensor. A pass that has ended by then takes no notice; one
  // that still runs has to wait for it.
  const absl::Duration pause = absl::Milliseconds(500);
  bool first = true;
  const auto receipt = client().Run(spec, [&](const Tensor& tensor) {
    if (first) {
      EXPECT_LT(tensor.group().captures(0), 1U);
      absl::SleepFor(pause);
    }
    first = false;
    return absl::OkStatus();
  });
  ASSERT_THAT(StatusOf(receipt), IsOk());
  EXPECT_GE(absl::Microseconds(receipt->compute_us()), pause);
}

TEST_F(Lifetime, MemoryDoesNotGrowWithTheResult) {
  ASSERT_THAT(StatusOf(client().Run(LargeSpec(2), Ignore)), IsOk());
  const size_t before = daemon().process().ResidentBytes();
  const v1::RunSpec spec = LargeSpec(120);
  const auto plan = client().Plan(spec);
  ASSERT_THAT(StatusOf(plan), IsOk());
  ASSERT_GT(plan->total_bytes(), 800U << 20U);
  // A reader that is slower than the pass.
  size_t most = 0;
  uint64_t seen = 0;
  const auto receipt = client().Run(spec, [&](const Tensor& tensor) {
    if (seen >> 24U != (seen + tensor.bytes().size()) >> 24U) {
      absl::SleepFor(absl::Milliseconds(20));
      most = std::max(most, daemon().process().ResidentBytes());
    }
    seen += tensor.bytes().size();
    return absl::OkStatus();
  });
  ASSERT_THAT(StatusOf(receipt), IsOk());
  EXPECT_EQ(seen, plan->total_bytes());
  // The budget for results, and what a pass over 15,360 tokens needs itself.
  EXPECT_LT(most, before + (600U << 20U));
}

TEST_F(Lifetime, ACancelledRunMakesRoomForTheNext) {
  for (int repeat = 0; repeat < 5; ++repeat) {
    int tensors = 0;
    const auto receipt = client().Run(LargeSpec(60), [&](const Tensor&) {
      return ++tensors == 3 ? absl::CancelledError("seen enough") : absl::OkStatus();
    });
    EXPECT_EQ(receipt.status(), absl::CancelledError("seen enough"));
    ExpectGoodRunWorks();
  }
}

TEST(Queue, ARunThatIsCancelledWhileItWaitsLeavesTheQueue) {
  const auto daemon = Daemon::Start({"--max-paced", "1"});
  const auto first = daemon->Connect();
  const auto second = daemon->Connect();
  absl::Notification started;
  absl::Notification go_on;
  std::thread holder([&] {
    EXPECT_THAT(StatusOf(first->Run(LargeSpec(60),
                                    [&](const Tensor&) {
                                      if (!started.HasBeenNotified()) started.Notify();
                                      go_on.WaitForNotification();
                                      return absl::OkStatus();
                                    })),
                IsOk());
  });
  started.WaitForNotification();
  // Behind a run that stands still.
  const auto waiting = second->Run(LargeSpec(60), Ignore, {.timeout = absl::Milliseconds(300)});
  EXPECT_THAT(StatusOf(waiting), HasCode(absl::StatusCode::kDeadlineExceeded));
  // Not behind it.
  EXPECT_THAT(StatusOf(second->Run(GoodSpec(), Ignore, {.timeout = absl::Seconds(60)})), IsOk());
  go_on.Notify();
  holder.join();
}

TEST_F(Lifetime, ADeadlineEndsARun) {
  const auto receipt = client().Run(LargeSpec(60),
                                    [](const Tensor&) {
                                      absl::SleepFor(absl::Milliseconds(20));
                                      return absl::OkStatus();
                                    },
                                    {.timeout = absl::Milliseconds(500)});
  EXPECT_THAT(StatusOf(receipt), HasCode(absl::StatusCode::kDeadlineExceeded));
}

TEST(Stall, AReaderThatStandsStillIsGivenUp) {
  const auto daemon = Daemon::Start({"--stall-timeout", "1", "--max-paced", "1"});
  const auto first = daemon->Connect();
  const auto second = daemon->Connect();
  bool waited = false;
  const auto receipt = first->Run(LargeSpec(60), [&](const Tensor&) {
    if (!waited) {
      // Only once the reader that reads nothing has been given up does this run get its turn.
      EXPECT_THAT(StatusOf(second->Run(LargeSpec(60), Ignore, {.timeout = absl::Seconds(60)})),
                  IsOk());
      waited = true;
    }
    return absl::OkStatus();
  });
  EXPECT_THAT(receipt.status(), HasCode(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(Lifetime, AClientThatDisappearsHoldsNothingUp) {
  for (int repeat = 0; repeat < 8; ++repeat) {
    TcpProxy proxy(daemon().port());
    const auto doomed = Connect(proxy.address());
    int tensors = 0;
    const auto receipt = doomed->Run(LargeSpec(60), [&](const Tensor&) {
      if (++tensors == 1 + repeat * 10) proxy.Cut();
      return absl::OkStatus();
    });
    EXPECT_THAT(StatusOf(receipt), HasCode(absl::StatusCode::kUnavailable));
    ExpectGoodRunWorks();
  }
}

TEST_F(Lifetime, ClientsThatDisappearWhileTheyWaitLeaveTheQueue) {
  TcpProxy proxy(daemon().port());
  std::vector<std::thread> threads;
  std::atomic<int> accepted = 0;
  absl::Notification all_accepted;
  absl::Notification cut;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      client::RunOptions options;
      options.on_accepted = [&](const v1::Accepted&) {
        if (++accepted == 4) all_accepted.Notify();
        return absl::OkStatus();
      };
      // The first of them runs; it must not be through before the connection is cut.
      const auto hold = [&](const Tensor&) {
        cut.WaitForNotificationWithTimeout(absl::Seconds(60));
        return absl::OkStatus();
      };
      EXPECT_THAT(StatusOf(Connect(proxy.address())->Run(LargeSpec(60), hold, options)),
                  HasCode(absl::StatusCode::kUnavailable));
    });
  }
  EXPECT_TRUE(all_accepted.WaitForNotificationWithTimeout(absl::Seconds(30)));
  proxy.Cut();
  cut.Notify();
  for (std::thread& thread : threads) thread.join();
}

TEST_F(Lifetime, ManyConnectionsThatComeAndGoLeaveNothingBehind) {
  for (int i = 0; i < 30; ++i) ExpectGoodRunWorks();
  const size_t before = daemon().process().ResidentBytes();
  for (int i = 0; i < 200; ++i) ExpectGoodRunWorks();
  EXPECT_LT(daemon().process().ResidentBytes(), before + (32U << 20U));
}

// What a run that meets SIGTERM may come to: a whole result, or word that the server is ending.
void ExpectWholeOrShutDown(const absl::StatusOr<v1::Receipt>& receipt) {
  if (receipt.ok()) return;
  EXPECT_THAT(StatusOf(receipt),
              IsError(absl::StatusCode::kUnavailable, v1::ERROR_REASON_SHUTTING_DOWN));
}

class Shutdown : public ::testing::TestWithParam<int> {};

TEST_P(Shutdown, OfAnIdleDaemonIsClean) {
  const auto daemon = Daemon::Start();
  const auto idle = daemon->Connect();
  daemon->process().Signal(GetParam());
  EXPECT_EQ(daemon->process().Wait(absl::Seconds(20)), 0) << daemon->process().Errors();
  EXPECT_EQ(daemon->process().ReadRest(), "");
}

TEST_P(Shutdown, EndsARunThatStreamsCleanly) {
  const auto daemon = Daemon::Start();
  const auto client = daemon->Connect();
  bool signalled = false;
  const auto receipt = client->Run(LargeSpec(60), [&](const Tensor&) {
    if (!signalled) daemon->process().Signal(GetParam());
    signalled = true;
    return absl::OkStatus();
  });
  EXPECT_TRUE(signalled);
  ExpectWholeOrShutDown(receipt);
  EXPECT_EQ(daemon->process().Wait(absl::Seconds(30)), 0) << daemon->process().Errors();
}

TEST_P(Shutdown, RefusesTheRunsThatWait) {
  const auto daemon = Daemon::Start();
  const auto first = daemon->Connect();
  const auto second = daemon->Connect();
  absl::Notification started;
  absl::Notification queued;
  std::thread holder([&] {
    ExpectWholeOrShutDown(first->Run(LargeSpec(60), [&](const Tensor&) {
      if (!started.HasBeenNotified()) started.Notify();
      queued.WaitForNotification();
      return absl::OkStatus();
    }));
  });
  started.WaitForNotification();
  client::RunOptions options;
  options.on_accepted = [&](const v1::Accepted& accepted) {
    EXPECT_EQ(accepted.queue_position(), 1U);
    daemon->process().Signal(GetParam());
    queued.Notify();
    return absl::OkStatus();
  };
  ExpectWholeOrShutDown(second->Run(GoodSpec(), Ignore, options));
  holder.join();
  EXPECT_EQ(daemon->process().Wait(absl::Seconds(30)), 0) << daemon->process().Errors();
}

TEST(Restart, OnTheSameCheckpointIsTheSameLoad) {
  auto daemon = Daemon::Start();
  const auto client = daemon->Connect();
  const std::string address = daemon->address();
  daemon->process().Signal(SIGTERM);
  ASSERT_EQ(daemon->process().Wait(absl::Seconds(30)), 0) << daemon->process().Errors();
  daemon = Daemon::Start({"--listen", address});
  // The first call may meet the connection that has just broken.
  Connect(address);
  EXPECT_THAT(StatusOf(client->Collect(GoodSpec())), IsOk());
}

TEST(Restart, WithOtherSettingsIsAnotherLoadThatOldClientsAreRefused) {
  auto daemon = Daemon::Start();
  const auto client = daemon->Connect();
  const std::string address = daemon->address();
  daemon->process().Signal(SIGTERM);
  ASSERT_EQ(daemon->process().Wait(absl::Seconds(30)), 0) << daemon->process().Errors();
  daemon = Daemon::Start({"--listen", address, "--numerics", "reference"});
  const auto fresh = Connect(address);
  const auto is_another_load =
      IsError(absl::StatusCode::kFailedPrecondition, v1::ERROR_REASON_LOAD_CHANGED);
  EXPECT_THAT(StatusOf(client->Collect(GoodSpec())), is_another_load);
  EXPECT_THAT(StatusOf(client->Plan(GoodSpec())), is_another_load);
  EXPECT_THAT(StatusOf(client->ListHooks()), is_another_load);
  EXPECT_THAT(StatusOf(fresh->Collect(GoodSpec())), IsOk());
}

TEST_P(Shutdown, WaitsForAReaderThatStandsStillNoLongerThanTheGracePeriod) {
  const auto daemon = Daemon::Start({"--grace-period", "1"});
  const auto client = daemon->Connect();
  std::optional<int> exit_code;
  const auto receipt = client->Run(LargeSpec(60), [&](const Tensor&) {
    if (exit_code) return absl::OkStatus();
    daemon->process().Signal(GetParam());
    exit_code = daemon->process().Wait(absl::Seconds(60)).value_or(-1);
    return absl::OkStatus();
  });
  EXPECT_FALSE(receipt.ok());
  EXPECT_EQ(exit_code, 0) << daemon->process().Errors();
}

TEST_P(Shutdown, ASecondSignalEndsItAtOnce) {
  // Neither run would end by itself: one reader stands still, the other reads slowly.
  const auto daemon = Daemon::Start({"--grace-period", "3600", "--stall-timeout", "3600"});
  const auto still = daemon->Connect();
  const auto slow = daemon->Connect();
  absl::Notification started;
  absl::Notification over;
  std::thread reader([&] {
    const auto receipt = slow->Run(LargeSpec(60), [&](const Tensor&) {
      if (!started.HasBeenNotified()) started.Notify();
      over.WaitForNotificationWithTimeout(absl::Milliseconds(20));
      return absl::OkStatus();
    });
    EXPECT_FALSE(receipt.ok());
  });
  started.WaitForNotification();
  std::optional<int> exit_code;
  const auto receipt = still->Run(LargeSpec(60), [&](const Tensor&) {
    if (exit_code) return absl::OkStatus();
    daemon->process().Signal(GetParam());
    // The other one: two of the same could become one.
    daemon->process().Signal(GetParam() == SIGTERM ? SIGINT : SIGTERM);
    exit_code = daemon->process().Wait(absl::Seconds(60)).value_or(-1);
    return absl::OkStatus();
  });
  over.Notify();
  reader.join();
  EXPECT_FALSE(receipt.ok());
  EXPECT_EQ(exit_code, 0) << daemon->process().Errors();
}

INSTANTIATE_TEST_SUITE_P(On, Shutdown, ::testing::Values(SIGTERM, SIGINT), [](const auto& info) {
  return info.param == SIGTERM ? "SIGTERM" : "SIGINT";
});

}  // namespace
}  // namespace hookwire::e2e
