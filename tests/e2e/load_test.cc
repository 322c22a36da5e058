// Many clients at once, good, impatient and gone.

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "tests/e2e/support/daemon_test.h"
#include "tests/e2e/support/matchers.h"
#include "tests/e2e/support/raw_call.h"
#include "tests/e2e/support/slices.h"
#include "tests/e2e/support/tcp_proxy.h"

namespace hookwire::e2e {
namespace {

using client::Tensor;

using Load = DaemonTest<Reference>;

v1::RunSpec SpecFor(uint32_t seed) {
  v1::RunSpec spec = SpecOf({LongPrompt(5 + seed * 31 % 100, seed), LongPrompt(17, seed + 1)});
  *spec.add_captures() = client::Capture("**");
  spec.mutable_outputs()->mutable_log_probs();
  return spec;
}

TEST_F(Load, ClientsThatLeaveAtAnyTimeDoNotDisturbTheOthers) {
  constexpr uint32_t kClients = 8;
  constexpr uint32_t kRuns = 40;
  std::vector<Bits> expected;
  for (uint32_t seed = 0; seed < kClients; ++seed) {
    const auto result = client().Collect(SpecFor(seed));
    ASSERT_THAT(StatusOf(result), IsOk());
    expected.push_back(BytesOf(*result));
  }
  // Each client stays, cancels at a tensor, is cut off at a tensor or runs out of time, in turn.
  const auto be = [&](uint32_t id) {
    for (uint32_t run = 0; run < kRuns; ++run) {
      const uint32_t leave_at = (run * 37 + id * 11) % 200;
      uint32_t seen = 0;
      switch ((run + id) % 4) {
        case 0: {
          const auto result = daemon().Connect()->Collect(SpecFor(id));
          EXPECT_THAT(StatusOf(result), IsOk());
          if (result.ok()) {
            EXPECT_EQ(BytesOf(*result), expected[id]);
          }
          break;
        }
        case 1: {
          const auto leave = [&](const Tensor&) {
            return seen++ == leave_at ? absl::CancelledError("enough") : absl::OkStatus();
          };
          EXPECT_THAT(daemon().Connect()->Run(SpecFor(id), leave).status(),
                      HasCode(absl::StatusCode::kCancelled));
          break;
        }
        case 2: {
          TcpProxy proxy(daemon().port());
          const auto connected = Connect(proxy.address());
          const auto cut = [&](const Tensor&) {
            if (seen++ == leave_at) proxy.Cut();
            return absl::OkStatus();
          };
          // All that is left may have come before the cut.
          const auto receipt = connected->Run(SpecFor(id), cut);
          EXPECT_TRUE(receipt.ok() || absl::IsUnavailable(receipt.status())) << receipt.status();
          break;
        }
        default: {
          const client::RunOptions options = {.timeout = absl::Milliseconds(leave_at / 4)};
          const auto receipt = daemon().Connect()->Run(
              SpecFor(id), [](const Tensor&) { return absl::OkStatus(); }, options);
          EXPECT_TRUE(receipt.ok() || absl::IsDeadlineExceeded(receipt.status()))
              << receipt.status();
        }
      }
    }
  };
  std::vector<std::thread> threads;
  for (uint32_t id = 0; id < kClients; ++id) threads.emplace_back(be, id);
  for (std::thread& thread : threads) thread.join();
}

TEST(Queue, ARunBeyondTheLimitIsRefusedAtOnce) {
  // One client, as all of this test's connections are, may fill half of what others leave: the
  // queue takes two of its runs, and no third.
  const auto daemon = Daemon::Start({"--max-queue", "3", "--max-paced", "1"});
  absl::Notification first_tensor;
  absl::Notification all_accepted;
  absl::Notification refused;
  std::atomic<int> accepted = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    client::RunOptions options;
    options.on_accepted = [&](const v1::Accepted&) {
      if (++accepted == 3) all_accepted.Notify();
      return absl::OkStatus();
    };
    // The first stands still in the middle of a result that no buffer holds; two wait behind it.
    v1::RunSpec spec = GoodSpec();
    for (uint32_t s = 0; s < 60; ++s) *spec.add_sequences() = client::Tokens(LongPrompt(128, s));
    *spec.add_captures() = client::Capture("**");
    threads.emplace_back([&, i, spec, options] {
      bool first = true;
      const auto hold = [&](const Tensor&) {
        if (i == 0 && first) {
          first_tensor.Notify();
          refused.WaitForNotification();
        }
        first = false;
        return absl::OkStatus();
      };
      EXPECT_THAT(StatusOf(daemon->Connect()->Run(spec, hold, options)), IsOk());
    });
    if (i == 0) first_tensor.WaitForNotification();
  }
  all_accepted.WaitForNotification();
  const auto result = daemon->Connect()->Collect(GoodSpec());
  EXPECT_THAT(StatusOf(result),
              IsError(absl::StatusCode::kResourceExhausted, v1::ERROR_REASON_QUEUE_FULL));
  refused.Notify();
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(StatusOf(daemon->Connect()->Collect(GoodSpec())), IsOk());
}

TEST(Silence, ACallThatSendsNoRequestDoesNotKeepTheDaemon) {
  const auto daemon = Daemon::Start({"--grace-period", "1"});
  grpc::GenericStub stub(OpenChannel(daemon->address()));
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  const auto call = stub.PrepareCall(&context, "/hookwire.v1.ActivationService/Run", &queue);
  void* tag = nullptr;
  bool ok = false;
  call->StartCall(nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok) && ok);
  EXPECT_THAT(StatusOf(daemon->Connect()->Collect(GoodSpec())), IsOk());
  daemon->process().Signal(SIGTERM);
  EXPECT_EQ(daemon->process().Wait(absl::Seconds(30)), 0) << daemon->process().Errors();

  grpc::Status status;
  call->Finish(&status, nullptr);
  queue.Next(&tag, &ok);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << status.error_message();
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
}

}  // namespace
}  // namespace hookwire::e2e
