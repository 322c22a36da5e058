// Weight files that are written to, cut off or replaced while the daemon serves them.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "tests/e2e/support/daemon.h"
#include "tests/e2e/support/matchers.h"
#include "tests/e2e/support/prompts.h"
#include "tests/e2e/support/raw_call.h"
#include "tests/e2e/support/slices.h"
#include "tests/unit/support/temp_directory.h"

namespace hookwire::e2e {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class WeightsChange : public ::testing::Test {
 protected:
  WeightsChange() {
    fs::copy(ToyCheckpoint(), directory_);
    weights_ = directory_ / "model.safetensors";
    daemon_ = Daemon::Start({"--model", directory_.string()});
    client_ = daemon_->Connect();
  }
  ~WeightsChange() override {
    if (HasFailure()) std::cerr << "--- hookwired said\n" << daemon_->process().Errors();
    daemon_.reset();
  }

  absl::StatusOr<client::RunResult> Run() const { return client_->Collect(GoodSpec()); }

  // HealthCheckResponse of the server (`service` empty) or of a service.
  std::string Health(const std::string& service) const {
    const std::string request =
        service.empty() ? "" : "\x0a" + std::string(1, static_cast<char>(service.size())) + service;
    const RawAnswer answer =
        CallRaw(OpenChannel(daemon_->address()), "/grpc.health.v1.Health/Check", request);
    EXPECT_THAT(answer.status, IsOk());
    return answer.messages.empty() ? "" : answer.messages[0];
  }
  bool IsServing() const { return Health("") == "\x08\x01"; }

  // The server is there, computes nothing any more, says why, and ends as always.
  void ExpectThatItGivesUp(const std::string& what) {
    for (int i = 0; i < 2; ++i) {
      const auto run = Run();
      EXPECT_THAT(run,
                  IsError(absl::StatusCode::kFailedPrecondition, v1::ERROR_REASON_WEIGHTS_CHANGED));
      EXPECT_THAT(std::string(run.status().message()), HasSubstr("model.safetensors: " + what));
    }
    v1::GetWeightRequest weight;
    weight.set_name("embed.weight");
    const RawAnswer answer =
        CallRaw(OpenChannel(daemon_->address()), "/hookwire.v1.ActivationService/GetWeight",
                weight.SerializeAsString());
    EXPECT_THAT(answer.status,
                IsError(absl::StatusCode::kFailedPrecondition, v1::ERROR_REASON_WEIGHTS_CHANGED));
    EXPECT_THAT(StatusOf(client_->GetModel()), IsOk());

    const absl::Time deadline = absl::Now() + absl::Seconds(30);
    while (IsServing() && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(20));
    EXPECT_EQ(Health(""), "\x08\x02");
    EXPECT_EQ(Health("hookwire.v1.ActivationService"), "\x08\x02");

    daemon_->process().Signal(SIGTERM);
    EXPECT_EQ(daemon_->process().Wait(absl::Seconds(30)), 0);
    const std::string log = daemon_->process().Errors();
    const std::string line = " error weight files changed";
    const size_t at = log.find(line);
    ASSERT_NE(at, std::string::npos) << log;
    EXPECT_EQ(log.find(line, at + 1), std::string::npos) << log;
    EXPECT_THAT(log.substr(at, log.find('\n', at) - at), HasSubstr(weights_.string()));
  }

  void WriteAt(std::streamoff from, const std::string& bytes) const {
    std::fstream file(weights_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(from);
    file << bytes;
    ASSERT_TRUE(file.flush().good());
  }

  const hookwire::testing::TempDirectory temp_;
  const fs::path directory_ = temp_.path();
  fs::path weights_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<client::Client> client_;
};

TEST_F(WeightsChange, CutOff) {
  ASSERT_THAT(StatusOf(Run()), IsOk());
  fs::resize_file(weights_, fs::file_size(weights_) / 2);
  ExpectThatItGivesUp("size 1607880 → 803940 bytes");
}

TEST_F(WeightsChange, Appended) {
  std::ofstream(weights_, std::ios::app) << 'x';
  ExpectThatItGivesUp("size 1607880 → 1607881 bytes");
}

TEST_F(WeightsChange, Overwritten) {
  WriteAt(1'000'000, "xxxx");
  ExpectThatItGivesUp("modified ");
}

TEST_F(WeightsChange, OverwrittenWithTheTimePutBack) {
  struct stat before {};
  ASSERT_EQ(stat(weights_.c_str(), &before), 0);
  WriteAt(1'000'000, "xxxx");
  const timespec times[2] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(utimensat(AT_FDCWD, weights_.c_str(), times, 0), 0);
  ExpectThatItGivesUp("it was written to");
}

TEST_F(WeightsChange, CutOffUnderARun) {
  // The pass waits for this reader, and finds the pages gone when it goes on.
  v1::RunSpec spec;
  for (uint32_t i = 0; i < 60; ++i) *spec.add_sequences() = client::Tokens(LongPrompt(128, i));
  *spec.add_captures() = client::Capture("**");
  bool cut = false;
  const auto receipt = client_->Run(spec, [&](const client::Tensor&) {
    if (!cut) fs::resize_file(weights_, 4096);
    cut = true;
    return absl::OkStatus();
  });
  EXPECT_TRUE(cut);
  EXPECT_THAT(receipt,
              IsError(absl::StatusCode::kFailedPrecondition, v1::ERROR_REASON_WEIGHTS_CHANGED));
  ExpectThatItGivesUp("size 1607880 → 4096 bytes");
}

TEST_F(WeightsChange, ReplacedByRenamingIsNone) {
  const auto before = Run();
  ASSERT_THAT(StatusOf(before), IsOk());
  std::ofstream(directory_ / "other") << "no weights";
  fs::rename(directory_ / "other", weights_);
  // The watch has looked, too.
  absl::SleepFor(absl::Seconds(2));
  const auto after = Run();
  ASSERT_THAT(StatusOf(after), IsOk());
  EXPECT_EQ(BytesOf(*after), BytesOf(*before));
  EXPECT_TRUE(IsServing());
}

TEST(DigestCache, TheNextStartKnowsTheDigestAtOnce) {
  const hookwire::testing::TempDirectory cache;
  std::string digest = "pending";
  {
    const auto daemon = Daemon::Start({"--digest-cache", cache.path()});
    const auto client = daemon->Connect();
    while (digest == "pending") digest = client->GetModel()->model().weights_digest();
  }
  const auto daemon = Daemon::Start({"--digest-cache", cache.path()});
  EXPECT_EQ(daemon->Connect()->GetModel()->model().weights_digest(), digest);
}

}  // namespace
}  // namespace hookwire::e2e
