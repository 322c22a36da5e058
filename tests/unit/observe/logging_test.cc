#include "server/observe/logging.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <string>

#include "absl/time/time.h"
#include "server/observe/run_log.h"

namespace hookwire::server {
namespace {

using testing::HasSubstr;

// What a logger writes, read back through a pipe.
class LoggingTest : public testing::Test {
 protected:
  LoggingTest() { EXPECT_EQ(pipe2(ends_, O_CLOEXEC), 0); }
  ~LoggingTest() override {
    close(ends_[0]);
    close(ends_[1]);
  }

  std::shared_ptr<spdlog::logger> Make(LogFormat format,
                                       spdlog::level::level_enum level = spdlog::level::info) {
    return MakeLogger(format, level, ends_[1]);
  }

  std::string Read() {
    std::string text;
    pollfd ready = {ends_[0], POLLIN, 0};
    while (poll(&ready, 1, 0) == 1) {
      char block[4096];
      text.append(block, static_cast<size_t>(read(ends_[0], block, sizeof(block))));
    }
    return text;
  }

  int ends_[2];
};

TEST_F(LoggingTest, TextIsTimeLevelMessageAndFields) {
  LogEvent(*Make(LogFormat::kText), spdlog::level::warn, "it broke",
           {{"n", 3}, {"name", "plain"}, {"text", "two words"}});
  const std::string line = Read();
  EXPECT_TRUE(std::regex_match(
      line, std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning it broke n=3 name=plain )"
                       R"(text="two words"\n)")))
      << line;
}

TEST_F(LoggingTest, JsonIsOneObjectALine) {
  const auto logger = Make(LogFormat::kJson);
  LogEvent(*logger, spdlog::level::info, "a \"quoted\" {} %s message", {{"n", 3}, {"level", "x"}});
  logger->info("without fields");
  std::istringstream lines(Read());
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  const nlohmann::json first = nlohmann::json::parse(line);
  EXPECT_EQ(first["message"], "a \"quoted\" {} %s message");
  EXPECT_EQ(first["n"], 3);
  EXPECT_EQ(first["level"], "info") << "a field does not take the level's place";
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(nlohmann::json::parse(line)["message"], "without fields");
}

TEST_F(LoggingTest, ALineBreakCannotForgeALine) {
  for (const LogFormat format : {LogFormat::kText, LogFormat::kJson}) {
    LogEvent(*Make(format), spdlog::level::info, "one\ntwo \xff",
             {{"field", "three\nfour\x1b[0m \xfe"}});
    const std::string text = Read();
    EXPECT_EQ(text.find('\n'), text.size() - 1) << text;
    EXPECT_EQ(text.find('\x1b'), std::string::npos);
  }
}

TEST_F(LoggingTest, KeepsToItsLevel) {
  const auto logger = Make(LogFormat::kText, spdlog::level::warn);
  LogEvent(*logger, spdlog::level::info, "quiet", {});
  EXPECT_EQ(Read(), "");
}

TEST_F(LoggingTest, APipeThatNobodyReadsBlocksNobody) {
  const auto logger = Make(LogFormat::kText);
  const std::string text(1000, 'x');
  for (int i = 0; i < 500; ++i) LogEvent(*logger, spdlog::level::info, text, {});
  Read();
  LogEvent(*logger, spdlog::level::info, "again", {});
  const std::string after = Read();
  EXPECT_THAT(after, HasSubstr("log lines were dropped"));
  EXPECT_THAT(after, HasSubstr("again"));
}

TEST_F(LoggingTest, ARunIsOneLine) {
  RunRecord record;
  record.id = "ab-1";
  record.tokens = 12;
  record.tensors = 3;
  record.bytes = 4096;
  record.queued = absl::Microseconds(10);
  record.computed = absl::Microseconds(500);
  LogRun(*Make(LogFormat::kText), record);
  const std::string line = Read();
  EXPECT_THAT(line, HasSubstr(" info run run=ab-1 "));
  EXPECT_THAT(line, HasSubstr(" status=OK sequences=0 tokens=12 tensors=3 bytes=4096 queue_us=10 "
                              "compute_us=500\n"));
}

TEST_F(LoggingTest, AFailedRunSaysWhyAndOurOwnFaultsAreErrors) {
  RunRecord record;
  record.status = absl::NotFoundError("no such hook");
  LogRun(*Make(LogFormat::kText), record);
  EXPECT_THAT(Read(), testing::AllOf(HasSubstr(" info run failed "), HasSubstr("status=NOT_FOUND"),
                                     HasSubstr("error=\"no such hook\"")));
  record.status = absl::InternalError("broke");
  LogRun(*Make(LogFormat::kText), record);
  EXPECT_THAT(Read(), HasSubstr(" error run failed "));
}

}  // namespace
}  // namespace hookwire::server
