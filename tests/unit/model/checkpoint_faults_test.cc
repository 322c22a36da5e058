// Checkpoints on a system whose calls fail: each failure is an error or a change that says what
// failed, and leaves nothing open.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "model/checkpoint/checkpoint.h"
#include "tests/unit/support/faulty_system.h"
#include "tests/unit/support/tiny_checkpoint.h"

namespace hookwire::model {
namespace {

namespace fs = std::filesystem;
using ::hookwire::testing::FaultySystem;
using ::hookwire::testing::TinyCheckpoint;
using ::hookwire::testing::TinyOptions;
using ::testing::HasSubstr;

class CheckpointFaults : public ::testing::Test {
 protected:
  static TinyOptions Sharded() {
    TinyOptions options;
    options.shards = 3;
    return options;
  }

  // The calls of Checkpoint::Open that works, by name.
  std::map<std::string, int> CallsOfOpen() const {
    FaultySystem system;
    EXPECT_TRUE(Checkpoint::Open(directory_, system).ok());
    return system.calls();
  }

  const TinyCheckpoint files_{Sharded()};
  const std::string directory_ = files_.directory();
};

TEST_F(CheckpointFaults, OpenSaysWhichFileAndWhyAndLeavesNothingOpen) {
  const std::map<std::string, int> calls = CallsOfOpen();
  // config.json, the index and three files.
  EXPECT_EQ(calls.at("open"), 5);
  EXPECT_EQ(calls.at("mmap"), 3);
  for (const auto& [name, n] : calls) {
    // Without inotify, the times of the files are still compared. See NoInotifyIsSaid below.
    if (name == "close" || absl::StartsWith(name, "inotify")) continue;
    for (int k = 0; k < n; ++k) {
      SCOPED_TRACE(absl::StrCat(name, " ", k));
      FaultySystem system;
      system.Fail(name, k, EIO);
      const absl::Status status = Checkpoint::Open(directory_, system).status();
      EXPECT_EQ(system.failed(), 1);
      EXPECT_FALSE(status.ok());
      EXPECT_THAT(std::string(status.message()), HasSubstr(directory_));
      EXPECT_THAT(std::string(status.message()), HasSubstr(std::strerror(EIO)));
      EXPECT_EQ(system.descriptors(), 0u);
      EXPECT_EQ(system.mappings(), 0u);
    }
  }
}

TEST_F(CheckpointFaults, NoPermissionAndNoDescriptorAreNoMissingFile) {
  for (const auto& [name, n] : CallsOfOpen()) {
    if (name != "stat" && name != "open") continue;
    for (int k = 0; k < n; ++k) {
      for (const int error : {EACCES, EMFILE, ENFILE, ELOOP}) {
        SCOPED_TRACE(absl::StrCat(name, " ", k, ": ", std::strerror(error)));
        FaultySystem system;
        system.Fail(name, k, error);
        const absl::Status status = Checkpoint::Open(directory_, system).status();
        EXPECT_NE(status.code(), absl::StatusCode::kNotFound);
        EXPECT_THAT(std::string(status.message()), HasSubstr(std::strerror(error)));
      }
    }
  }
}

TEST_F(CheckpointFaults, MappingWithoutMemoryIsASentence) {
  FaultySystem system;
  system.Fail("mmap", 1, ENOMEM);
  const absl::Status status = Checkpoint::Open(directory_, system).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(),
            absl::StrCat("cannot map ", directory_,
                         "/model-00002-of-00003.safetensors: ", std::strerror(ENOMEM)));
}

TEST_F(CheckpointFaults, SignalsDoNotMatter) {
  FaultySystem system;
  for (const auto& [name, n] : CallsOfOpen()) {
    if (name != "open" && name != "read" && name != "stat") continue;
    for (int k = 0; k < n; ++k) system.Fail(name, 2 * k, EINTR);
  }
  const auto checkpoint = Checkpoint::Open(directory_, system);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_GT(system.failed(), 0);
}

TEST_F(CheckpointFaults, ShortReadsGiveTheWholeText) {
  const auto whole = Checkpoint::Open(directory_);
  ASSERT_TRUE(whole.ok()) << whole.status();
  FaultySystem system;
  system.LimitReads(7);
  const auto checkpoint = Checkpoint::Open(directory_, system);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->names(), (*whole)->names());
  EXPECT_EQ((*checkpoint)->config().d_model, Sharded().d_model);
}

TEST_F(CheckpointFaults, AllIsClosedAndUnmappedAtTheEnd) {
  FaultySystem system;
  auto checkpoint = Checkpoint::Open(directory_, system);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  // Three files and inotify.
  EXPECT_EQ(system.descriptors(), 4u);
  EXPECT_EQ(system.mappings(), 3u);
  at::Tensor tensor = *(*checkpoint)->Get((*checkpoint)->names().front());
  *checkpoint = nullptr;
  // A tensor keeps its file.
  EXPECT_EQ(system.mappings(), 1u);
  tensor = at::Tensor();
  EXPECT_EQ(system.descriptors(), 0u);
  EXPECT_EQ(system.mappings(), 0u);
}

TEST_F(CheckpointFaults, AFileThatCannotBeLookedAtHasChanged) {
  FaultySystem system;
  const auto checkpoint = Checkpoint::Open(directory_, system);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  system.Restart();
  ASSERT_FALSE((*checkpoint)->Change().has_value());
  for (const auto& [name, n] : system.calls()) {
    for (int k = 0; k < n; ++k) {
      SCOPED_TRACE(absl::StrCat(name, " ", k));
      system.Restart();
      system.Fail(name, k, EIO);
      const auto change = (*checkpoint)->Change();
      ASSERT_TRUE(change.has_value());
      EXPECT_THAT(change->path, HasSubstr(directory_));
      EXPECT_THAT(change->what, HasSubstr(std::strerror(EIO)));
    }
  }
  system.Restart();
  EXPECT_FALSE((*checkpoint)->Change().has_value());
}

TEST_F(CheckpointFaults, ASignalDoesNotHideAWrite) {
  const std::string path = directory_ + "/model-00002-of-00003.safetensors";
  FaultySystem system;
  const auto checkpoint = Checkpoint::Open(directory_, system);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  // Written to, with the time put back: only inotify knows.
  const auto time = fs::last_write_time(path);
  fs::resize_file(path, fs::file_size(path) + 1);
  fs::resize_file(path, fs::file_size(path) - 1);
  fs::last_write_time(path, time);
  system.Restart();
  system.Fail("poll", 0, EINTR);
  const auto change = (*checkpoint)->Change();
  ASSERT_TRUE(change.has_value());
  EXPECT_EQ(change->path, path);
  EXPECT_EQ(system.failed(), 1);
}

TEST_F(CheckpointFaults, NoInotifyIsSaid) {
  for (const auto& [name, n] : CallsOfOpen()) {
    if (!absl::StartsWith(name, "inotify")) continue;
    for (int k = 0; k < n; ++k) {
      SCOPED_TRACE(absl::StrCat(name, " ", k));
      FaultySystem system;
      system.Fail(name, k, ENOSPC);
      const auto checkpoint = Checkpoint::Open(directory_, system);
      ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
      const absl::Status status = (*checkpoint)->watch_status();
      EXPECT_FALSE(status.ok());
      EXPECT_THAT(std::string(status.message()), HasSubstr(std::strerror(ENOSPC)));
      EXPECT_FALSE((*checkpoint)->Change().has_value());
    }
  }
  FaultySystem system;
  EXPECT_TRUE((*Checkpoint::Open(directory_, system))->watch_status().ok());
}

TEST_F(CheckpointFaults, APipeInPlaceOfAFileIsNotWaitedFor) {
  for (const char* file :
       {"config.json", "model.safetensors.index.json", "model-00002-of-00003.safetensors"}) {
    const std::string path = absl::StrCat(directory_, "/", file);
    fs::rename(path, path + ".aside");
    ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    EXPECT_EQ(Checkpoint::Open(directory_).status().message(), path + " is not a regular file");
    fs::rename(path + ".aside", path);
  }
}

}  // namespace
}  // namespace hookwire::model
