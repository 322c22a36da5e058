// Mapped files that another process writes to, truncates or replaces, and what happens to this
// process.

#include "model/checkpoint/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/checkpoint/checkpoint.h"
#include "tests/unit/model/safetensors_writer.h"
#include "tests/unit/support/temp_directory.h"
#include "tests/unit/support/tiny_checkpoint.h"

namespace hookwire::model {
namespace {

namespace fs = std::filesystem;
using ::hookwire::testing::TempDirectory;
using ::hookwire::testing::TinyCheckpoint;
using ::hookwire::testing::TinyOptions;
using ::testing::HasSubstr;
using ::testing::Optional;

constexpr size_t kBytes = 1 << 20;

// Whether every mapped byte has this value; reads every page.
bool IsAll(const MappedFile& file, char byte) {
  const volatile std::byte* const data = file.data();
  size_t others = 0;
  for (size_t i = 0; i < file.size(); ++i) others += data[i] != std::byte(byte) ? 1 : 0;
  return others == 0;
}

void Truncate(const std::string& path, size_t bytes) {
  ASSERT_EQ(truncate(path.c_str(), static_cast<off_t>(bytes)), 0);
}

// Overwrites the bytes from `from` on.
void WriteAt(const std::string& path, size_t from, const std::string& bytes) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(from));
  file << bytes;
  ASSERT_TRUE(file.flush().good());
}

// Sets the time of the last write to a whole second of long ago.
void SetModified(const std::string& path, time_t seconds) {
  const timespec times[2] = {{seconds, 0}, {seconds, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
}

class MappedFileChange : public ::testing::Test {
 protected:
  MappedFileChange() {
    SetModified(path_, 1'000'000'000);
    auto file = MappedFile::Open(path_);
    EXPECT_TRUE(file.ok()) << file.status();
    file_ = *file;
  }

  const TempDirectory directory_;
  const std::string path_ = directory_.Write("weights", std::string(kBytes, 'x'));
  std::shared_ptr<const MappedFile> file_;
};

TEST_F(MappedFileChange, IsNothingWhileTheFileIsAsItWas) {
  EXPECT_EQ(file_->Change(), std::nullopt);
  EXPECT_TRUE(IsAll(*file_, 'x'));
  EXPECT_EQ(file_->Change(), std::nullopt);
  EXPECT_EQ(FileStamp::Of(file_->fd())->modified, file_->stamp().modified);
  EXPECT_EQ(file_->stamp().size, kBytes);
}

TEST_F(MappedFileChange, IsNothingWhereTheFileOnlyGetsAnotherModeOrName) {
  ASSERT_EQ(chmod(path_.c_str(), 0600), 0);
  fs::create_hard_link(path_, path_ + ".link");
  fs::rename(path_, path_ + ".aside");
  EXPECT_EQ(file_->Change(), std::nullopt);
}

TEST_F(MappedFileChange, IsNothingWhereAnotherFileTakesItsName) {
  fs::rename(directory_.Write("other", std::string(3, 'y')), path_);
  EXPECT_EQ(file_->Change(), std::nullopt);
  EXPECT_TRUE(IsAll(*file_, 'x'));
  fs::remove(path_);
  EXPECT_EQ(file_->Change(), std::nullopt);
}

TEST_F(MappedFileChange, IsSeenWhereTheFileIsWrittenInPlace) {
  WriteAt(path_, 17, "y");
  EXPECT_THAT(file_->Change(), Optional(HasSubstr("modified 2001-09-09T01:46:40+00:00 → ")));
}

TEST_F(MappedFileChange, IsSeenWhereTheFileGrows) {
  std::ofstream(path_, std::ios::app) << "y";
  EXPECT_THAT(file_->Change(),
              Optional(absl::StrCat("size ", kBytes, " → ", kBytes + 1, " bytes")));
}

TEST_F(MappedFileChange, IsSeenWhereTheFileShrinksAndItsPagesBecomeZeros) {
  Truncate(path_, kBytes / 2);
  IsAll(*file_, 'x');
  EXPECT_TRUE(IsAll(*file_, 0));
  EXPECT_THAT(file_->Change(),
              Optional(absl::StrCat("size ", kBytes, " → ", kBytes / 2, " bytes")));
}

TEST_F(MappedFileChange, IsSeenWhereThePagesWereGoneForAWhile) {
  Truncate(path_, 0);
  EXPECT_TRUE(IsAll(*file_, 0));
  directory_.Write("weights", std::string(kBytes, 'x'));
  SetModified(path_, 1'000'000'000);
  EXPECT_THAT(file_->Change(), Optional(std::string("some of it could not be read")));
}

TEST_F(MappedFileChange, ManyThreadsMayFindThePagesGone) {
  Truncate(path_, 1);
  std::vector<std::thread> threads(8);
  for (size_t i = 0; i < threads.size(); ++i) {
    threads[i] = std::thread([this, i] {
      for (size_t at = kBytes / 2 + i; at < kBytes; at += 8) {
        ASSERT_EQ(file_->data()[at], std::byte(0));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(file_->Change().has_value());
}

TEST_F(MappedFileChange, ConcernsOneFileOnly) {
  const std::string path = directory_.Write("other", std::string(kBytes, 'z'));
  const auto other = *MappedFile::Open(path);
  Truncate(path_, 1);
  IsAll(*file_, 'x');
  EXPECT_TRUE(IsAll(*other, 'z'));
  EXPECT_EQ(other->Change(), std::nullopt);
}

TEST_F(MappedFileChange, GoesWithTheFile) {
  Truncate(path_, 1);
  IsAll(*file_, 'x');
  const std::byte* const address = file_->data();
  file_.reset();
  // Nothing is left there.
  EXPECT_NE(msync(const_cast<std::byte*>(address), kBytes, MS_ASYNC), 0);
}

// Reads a page that is gone and that no MappedFile has mapped. `address`: where, or anywhere.
void ReadLostPage(const TempDirectory& directory, const void* address = nullptr) {
  const std::string path = directory.Write("other", std::string(kBytes, 'x'));
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const int fixed = address == nullptr ? 0 : MAP_FIXED;
  const void* const data =
      mmap(const_cast<void*>(address), kBytes, PROT_READ, MAP_PRIVATE | fixed, fd, 0);
  Truncate(path, 0);
  directory.Remove();
  *static_cast<const volatile char*>(data);
}

// In a process of its own, where no file has been mapped before.
class Sigbus : public ::testing::Test {
 protected:
  Sigbus() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }

  std::shared_ptr<const MappedFile> Map() const { return *MappedFile::Open(path_); }

  const TempDirectory directory_;
  const std::string path_ = directory_.Write("weights", std::string(kBytes, 'x'));
};

TEST_F(Sigbus, ElsewhereEndsTheProcess) {
  const auto die = [this] {
    const auto file = Map();
    ReadLostPage(directory_);
  };
  EXPECT_EXIT(die(), ::testing::KilledBySignal(SIGBUS), "");
}

TEST_F(Sigbus, WhereAFileWasMappedOnceEndsTheProcess) {
  const auto die = [this] {
    const void* const address = Map()->data();
    ReadLostPage(directory_, address);
  };
  EXPECT_EXIT(die(), ::testing::KilledBySignal(SIGBUS), "");
}

TEST_F(Sigbus, ThatSomebodySendsEndsTheProcess) {
  const auto die = [this] {
    const auto file = Map();
    directory_.Remove();
    kill(getpid(), SIGBUS);
    pause();
  };
  EXPECT_EXIT(die(), ::testing::KilledBySignal(SIGBUS), "");
}

TEST_F(Sigbus, ElsewhereGoesToTheHandlerThatWasThereBefore) {
  const auto die = [this] {
    struct sigaction handler = {};
    handler.sa_sigaction = [](int, siginfo_t* info, void*) {
      _exit(info->si_code == BUS_ADRERR ? 42 : 43);
    };
    handler.sa_flags = SA_SIGINFO;
    sigaction(SIGBUS, &handler, nullptr);
    const auto file = Map();
    Truncate(path_, 1);
    IsAll(*file, 'x');
    ReadLostPage(directory_);
  };
  EXPECT_EXIT(die(), ::testing::ExitedWithCode(42), "");
}

class CheckpointChange : public ::testing::Test {
 protected:
  CheckpointChange() {
    for (const auto& entry : fs::directory_iterator(directory_.directory())) {
      SetModified(entry.path(), 1'000'000'000);
    }
    auto checkpoint = Checkpoint::Open(directory_.directory());
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    checkpoint_ = *checkpoint;
  }

  static TinyOptions Sharded() {
    TinyOptions options;
    options.shards = 3;
    return options;
  }

  const TinyCheckpoint directory_{Sharded()};
  const std::string second_ = directory_.directory() + "/model-00002-of-00003.safetensors";
  std::shared_ptr<const Checkpoint> checkpoint_;
};

TEST_F(CheckpointChange, IsNothingWhereFilesAreReplaced) {
  EXPECT_FALSE(checkpoint_->Change().has_value());
  fs::copy_file(second_, second_ + ".copy");
  fs::rename(second_ + ".copy", second_);
  ASSERT_EQ(chmod(checkpoint_->weight_files()[0]->path().c_str(), 0400), 0);
  fs::remove(checkpoint_->weight_files()[2]->path());
  EXPECT_FALSE(checkpoint_->Change().has_value());
}

TEST_F(CheckpointChange, NamesTheFile) {
  WriteAt(second_, 100, "y");
  const auto change = checkpoint_->Change();
  ASSERT_TRUE(change.has_value());
  EXPECT_EQ(change->path, second_);
  EXPECT_THAT(change->what, HasSubstr("modified 2001"));
}

TEST_F(CheckpointChange, IsSeenWhereTheWriterPutsTheTimeBack) {
  ASSERT_EQ(chmod(checkpoint_->weight_files()[2]->path().c_str(), 0600), 0);
  WriteAt(second_, 100, "y");
  SetModified(second_, 1'000'000'000);
  for (int look = 0; look < 2; ++look) {
    const auto change = checkpoint_->Change();
    ASSERT_TRUE(change.has_value());
    EXPECT_EQ(change->path, second_);
    EXPECT_EQ(change->what, "it was written to");
  }
}

}  // namespace
}  // namespace hookwire::model
