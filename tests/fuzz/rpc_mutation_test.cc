// Spoiled requests against a running daemon: each gets a result or a proper error, and the daemon
// stays as it was.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "hookwire/v1/service.pb.h"
#include "tests/e2e/support/daemon.h"
#include "tests/e2e/support/matchers.h"
#include "tests/e2e/support/prompts.h"
#include "tests/e2e/support/raw_call.h"
#include "tests/e2e/support/slices.h"
#include "tests/fuzz/mutate.h"

namespace hookwire::fuzz {
namespace {

using e2e::CallRaw;
using e2e::RawAnswer;

constexpr int kRequests = 3000;

// Sanitizers' own memory grows as well: `./run sanitize` allows more.
size_t AllowedGrowth() {
  const char* const given = std::getenv("HOOKWIRE_SLACK_MB");
  size_t megabytes = 64;
  if (given != nullptr && !absl::SimpleAtoi(given, &megabytes)) ADD_FAILURE() << given;
  return megabytes << 20U;
}

std::vector<std::string> Corpus() {
  v1::RunRequest glob;
  *glob.mutable_spec() = e2e::GoodSpec();
  *glob.mutable_spec()->add_captures() = client::Capture("blocks.*.attn.hook_pattern");
  v1::RunRequest stopped;
  *stopped.mutable_spec() = e2e::SpecOf({e2e::LongPrompt(20), {2}});
  stopped.mutable_spec()->set_stop_at_layer(2);
  stopped.mutable_spec()->set_max_result_bytes(1 << 20);
  stopped.mutable_spec()->set_max_message_bytes(64 << 10);
  stopped.mutable_spec()->mutable_outputs()->set_residual(true);
  v1::RunRequest shown;
  *shown.mutable_spec() = e2e::GoodSpec();
  v1::Intervention& look = *shown.mutable_spec()->add_interventions();
  look.set_hook("blocks.1.hook_out");
  look.mutable_callback()->set_read_only(true);
  return {e2e::FullRequest().SerializeAsString(), glob.SerializeAsString(),
          stopped.SerializeAsString(), shown.SerializeAsString()};
}

// Whether the call ended in a whole result, or in an error that says why.
::testing::AssertionResult IsProper(const RawAnswer& answer, bool is_run) {
  if (answer.status.ok()) {
    v1::RunResponse last;
    const bool whole =
        !answer.messages.empty() &&
        (!is_run || (last.ParseFromString(answer.messages.back()) && last.has_receipt()));
    if (!whole) return ::testing::AssertionFailure() << "OK without a receipt";
    return ::testing::AssertionSuccess();
  }
  const auto detail = client::DetailOf(answer.status);
  if (!detail || detail->reason == v1::ERROR_REASON_UNSPECIFIED ||
      detail->reason == v1::ERROR_REASON_INTERNAL) {
    return ::testing::AssertionFailure() << answer.status;
  }
  return ::testing::AssertionSuccess();
}

e2e::Bits GoodAnswer(const e2e::Daemon& daemon) {
  const auto result = daemon.Connect()->Collect(e2e::FullRequest().spec());
  EXPECT_THAT(e2e::StatusOf(result), e2e::IsOk());
  return result.ok() ? e2e::BytesOf(*result) : e2e::Bits();
}

TEST(RpcMutation, EveryAnswerIsProperAndTheDaemonStaysAsItWas) {
  const auto daemon = e2e::Daemon::Start();
  const e2e::Bits good = GoodAnswer(*daemon);
  const auto channel = e2e::OpenChannel(daemon->address());
  const std::vector<std::string> corpus = Corpus();
  for (const std::string& request : corpus) {
    // A RunRequest is an InteractRequest too, of one message.
    ASSERT_THAT(CallRaw(channel, "/hookwire.v1.ActivationService/Interact", request).status,
                e2e::IsOk());
  }

  Random random(20240607);
  size_t settled = 0;
  int ok = 0;
  for (int i = 0; i < kRequests; ++i) {
    std::string request = corpus[Below(random, corpus.size())];
    for (size_t n = 1 + Below(random, 3); n > 0; --n) {
      request = Below(random, 3) == 0 ? MutateBytes(std::move(request), random)
                                      : MutateFields(request, random);
    }
    const char* const method = std::array{"Run", "Interact", "Interact", "Plan"}[Below(random, 4)];
    const bool is_run = std::string_view(method) != "Plan";
    const RawAnswer answer =
        CallRaw(channel, absl::StrCat("/hookwire.v1.ActivationService/", method), request);
    ok += answer.status.ok() ? 1 : 0;
    ASSERT_TRUE(IsProper(answer, is_run))
        << "request " << i << ": " << absl::BytesToHexString(request) << "\n"
        << daemon->process().Errors();
    if (i == kRequests / 10) settled = daemon->process().ResidentBytes();
  }
  // Neither all good nor all broken at the first byte: the mutations reach what is behind the
  // parser.
  EXPECT_GT(ok, kRequests / 50);
  EXPECT_LT(ok, kRequests * 9 / 10);

  EXPECT_LT(daemon->process().ResidentBytes(), settled + AllowedGrowth());
  EXPECT_EQ(GoodAnswer(*daemon), good);
  daemon->process().Signal(SIGTERM);
  EXPECT_EQ(daemon->process().Wait(absl::Seconds(30)), 0);
}

}  // namespace
}  // namespace hookwire::fuzz
