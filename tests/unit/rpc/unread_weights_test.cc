// What is said of weights that the server does not read. The warning and --strict themselves are
// tried on a daemon, in tests/fault/test_odd_checkpoints.py.

#include "server/unread_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <cerrno>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/unit/support/faulty_system.h"
#include "tests/unit/support/tiny_checkpoint.h"

namespace hookwire::server {
namespace {

using ::hookwire::testing::FaultySystem;
using ::hookwire::testing::TinyCheckpoint;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(DescribeUnreadFiles, GivesTheFirstHundredAndTheNumberOfAll) {
  std::vector<model::UnreadFile> files;
  for (int i = 0; i < 150; ++i) files.push_back({absl::StrCat("f", i, ".bin"), std::nullopt});
  files[1].n_tensors = 7;
  v1::Model model;
  DescribeUnreadFiles(files, model);
  EXPECT_EQ(model.n_unread_files(), 150u);
  ASSERT_EQ(model.unread_files_size(), 100);
  EXPECT_EQ(model.unread_files(0).name(), "f0.bin");
  EXPECT_FALSE(model.unread_files(0).has_n_tensors());
  EXPECT_EQ(model.unread_files(1).n_tensors(), 7u);
}

TEST(DescribeUnreadFiles, ANameThatIsNoUtf8CanBeSent) {
  v1::Model model;
  DescribeUnreadFiles({{.name = "\xFF.bin", .n_tensors = std::nullopt}}, model);
  EXPECT_EQ(model.unread_files(0).name(), "\xEF\xBF\xBD.bin");
}

TEST(ReportUnread, ADirectoryThatCannotBeListedIsAWarningAndWithStrictAnError) {
  const TinyCheckpoint directory;
  const auto checkpoint = model::Checkpoint::Open(directory.directory());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  std::ostringstream log;
  spdlog::logger logger("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log));
  for (const bool strict : {false, true}) {
    FaultySystem system;
    system.Fail("opendir", 0, EACCES);
    const auto files = ReportUnread(**checkpoint, {}, strict, logger, system);
    const std::string cause = absl::StrCat("cannot list ", directory.directory());
    if (strict) {
      EXPECT_EQ(files.status().code(), absl::StatusCode::kPermissionDenied);
      EXPECT_THAT(std::string(files.status().message()), HasSubstr(cause));
    } else {
      ASSERT_TRUE(files.ok()) << files.status();
      EXPECT_THAT(*files, IsEmpty());
      EXPECT_THAT(log.str(), HasSubstr(cause));
    }
  }
}

}  // namespace
}  // namespace hookwire::server
