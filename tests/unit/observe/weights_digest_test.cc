#include "server/observe/weights_digest.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "tests/unit/support/temp_directory.h"

namespace hookwire::server {
namespace {

namespace fs = std::filesystem;
using hookwire::testing::TempDirectory;

// FIPS 180-2, appendix B.1.
constexpr char kSha256OfAbc[] =
    "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
// B.3: a million times "a".
constexpr char kSha256OfMillionA[] =
    "sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
// Of "abd", by sha256sum.
constexpr char kSha256OfAbd[] =
    "sha256:a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9";

class WeightsDigestTest : public ::testing::Test {
 protected:
  // A file that was last written long ago.
  std::string Write(const std::string& name, const std::string& bytes) const {
    std::string path = directory_.Write(name, bytes);
    SetModified(path, 1'000'000'000);
    return path;
  }
  static void SetModified(const std::string& path, time_t seconds) {
    const timespec times[2] = {{seconds, 0}, {seconds, 0}};
    ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  }

  static WeightsDigest::Files Map(const std::vector<std::string>& paths) {
    WeightsDigest::Files files;
    for (const std::string& path : paths) {
      auto file = model::MappedFile::Open(path);
      EXPECT_TRUE(file.ok()) << file.status();
      files.push_back(*file);
    }
    return files;
  }

  // The digest that one start of a server computes or finds.
  struct Start {
    std::string at_once;
    std::string value;
    int reads;
  };
  // `between` is called before each read.
  Start Compute(
      const std::vector<std::string>& paths, const std::function<void()>& between = [] {}) const {
    std::atomic<int> reads = 0;
    const WeightsDigest digest(
        Map(paths),
        {.cache_directory = cache_, .read = [&](int fd, void* to, size_t bytes, off_t from) {
           ++reads;
           between();
           return pread(fd, to, bytes, from);
         }});
    Start start{digest.value(), "", 0};
    digest.Wait(absl::Seconds(30)).IgnoreError();
    start.value = digest.value();
    start.reads = reads;
    return start;
  }

  // The one file in the cache.
  std::string Entry() const {
    const fs::directory_iterator entries(cache_);
    EXPECT_EQ(std::distance(begin(entries), end(entries)), 1);
    return fs::directory_iterator(cache_)->path();
  }
  static std::string Contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static void Overwrite(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  }

  const TempDirectory directory_;
  std::string cache_ = directory_.path() + "/cache/digests";
};

TEST_F(WeightsDigestTest, IsTheSha256OfTheFilesInOrder) {
  EXPECT_EQ(Compute({Write("abc", "abc")}).value, kSha256OfAbc);
  EXPECT_EQ(Compute({Write("a", "a"), Write("bc", "bc")}).value, kSha256OfAbc);
}

TEST_F(WeightsDigestTest, ReadsFilesLargerThanItsBlock) {
  EXPECT_EQ(Compute({Write("many", std::string(1'000'000, 'a'))}).value, kSha256OfMillionA);
}

TEST_F(WeightsDigestTest, IsThatOfTheFileThatIsMapped) {
  const std::string path = Write("weights", "abc");
  const WeightsDigest::Files files = Map({path});
  fs::rename(Write("other", "abd"), path);
  const WeightsDigest digest(files, {});
  ASSERT_TRUE(digest.Wait(absl::Seconds(30)).ok());
  EXPECT_EQ(digest.value(), kSha256OfAbc);
}

TEST_F(WeightsDigestTest, StaysPendingWhereAFileCannotBeRead) {
  const WeightsDigest digest(Map({Write("weights", "abc")}),
                             {.cache_directory = "", .read = [](auto...) {
                                errno = EIO;
                                return ssize_t{-1};
                              }});
  EXPECT_THAT(std::string(digest.Wait(absl::Seconds(30)).message()),
              ::testing::HasSubstr("cannot read " + directory_.path() + "/weights"));
  EXPECT_EQ(digest.value(), "pending");
}

TEST_F(WeightsDigestTest, StaysPendingWhereAFileChangesMeanwhile) {
  const std::string path = Write("weights", std::string(3 << 20, 'a'));
  EXPECT_EQ(Compute({path}, [&] { SetModified(path, 1'000'000'001); }).value, "pending");
  EXPECT_EQ(Compute({path}, [&] { fs::resize_file(path, 1 << 20); }).value, "pending");
}

TEST_F(WeightsDigestTest, IsPendingAtFirstAndStopsAtOnce) {
  // Takes minutes.
  const std::string path = Write("weights", "");
  fs::resize_file(path, uint64_t{1} << 36);
  const absl::Time start = absl::Now();
  {
    const WeightsDigest digest(Map({path}), {});
    EXPECT_EQ(digest.value(), "pending");
    EXPECT_TRUE(absl::IsDeadlineExceeded(digest.Wait(absl::Milliseconds(10))));
  }
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

TEST_F(WeightsDigestTest, TheNextStartReadsNothing) {
  const std::vector<std::string> paths = {Write("a", "a"), Write("bc", "bc")};
  const Start first = Compute(paths);
  EXPECT_EQ(first.value, kSha256OfAbc);
  EXPECT_EQ(first.reads, 2);
  const Start second = Compute(paths);
  EXPECT_EQ(second.at_once, kSha256OfAbc);
  EXPECT_EQ(second.reads, 0);
  // Of the same files, but not this digest.
  EXPECT_EQ(Compute({paths[1], paths[0]}).reads, 2);
  EXPECT_EQ(Compute({paths[1]}).reads, 1);
}

TEST_F(WeightsDigestTest, AFileUnderAnotherNameIsTheSame) {
  const std::string path = Write("weights", "abc");
  Compute({path});
  fs::rename(path, path + ".moved");
  EXPECT_EQ(Compute({path + ".moved"}).reads, 0);
}

TEST_F(WeightsDigestTest, AFileThatWasWrittenIsReadAgain) {
  const std::string path = Write("weights", "abc");
  Compute({path});
  // The same bytes, at another time.
  SetModified(path, 1'000'000'001);
  EXPECT_GT(Compute({path}).reads, 0);
  // Another file with the same time and size.
  fs::rename(Write("other", "abd"), path);
  SetModified(path, 1'000'000'001);
  EXPECT_EQ(Compute({path}).value, kSha256OfAbd);
  // The same file with the same time and another size.
  Overwrite(path, "abcabc");
  SetModified(path, 1'000'000'001);
  EXPECT_GT(Compute({path}).reads, 0);
}

TEST_F(WeightsDigestTest, IsNotKeptWhereTheFileWasTouchedMeanwhile) {
  const std::string path = Write("weights", "abc");
  const Start start = Compute({path}, [&] { chmod(path.c_str(), 0600); });
  EXPECT_EQ(start.value, kSha256OfAbc);
  EXPECT_GT(Compute({path}).reads, 0);
  EXPECT_EQ(Compute({path}).reads, 0);
}

TEST_F(WeightsDigestTest, IsNotKeptWhereTheFileWasWrittenJustNow) {
  const std::string path = directory_.Write("weights", "abc");
  EXPECT_EQ(Compute({path}).value, kSha256OfAbc);
  EXPECT_GT(Compute({path}).reads, 0);
}

TEST_F(WeightsDigestTest, ADamagedEntryIsWrittenAnew) {
  const std::string path = Write("weights", "abc");
  Compute({path});
  const std::string entry = Entry();
  const std::string good = Contents(entry);
  std::vector<std::string> damaged = {"", good.substr(1), good + "\n",
                                      std::string(good.size(), 'x')};
  for (size_t at = 0; at < good.size(); ++at) {
    damaged.push_back(good);
    damaged.back()[at] ^= 1;
    damaged.push_back(good.substr(0, at));
  }
  for (const std::string& bytes : damaged) {
    Overwrite(entry, bytes);
    const Start again = Compute({path});
    EXPECT_EQ(again.value, kSha256OfAbc);
    EXPECT_EQ(again.reads, 1) << bytes;
    ASSERT_EQ(Contents(Entry()), good);
  }
}

TEST_F(WeightsDigestTest, AnEntryThatOthersCouldHaveWrittenIsWrittenAnew) {
  const std::string path = Write("weights", "abc");
  Compute({path});
  const std::string entry = Entry();
  ASSERT_EQ(chmod(entry.c_str(), 0620), 0);
  EXPECT_GT(Compute({path}).reads, 0);
  EXPECT_EQ(Compute({path}).reads, 0);

  fs::rename(entry, directory_.path() + "/elsewhere");
  fs::create_symlink(directory_.path() + "/elsewhere", entry);
  EXPECT_GT(Compute({path}).reads, 0);
  EXPECT_EQ(Compute({path}).reads, 0);
}

TEST_F(WeightsDigestTest, IsKeptForThisUserAlone) {
  Compute({Write("weights", "abc")});
  const auto mode = [](const std::string& path) {
    return static_cast<unsigned>(fs::status(path).permissions());
  };
  EXPECT_EQ(mode(Entry()), 0600u);
  EXPECT_EQ(mode(cache_), 0700u);
  EXPECT_EQ(mode(directory_.path() + "/cache"), 0700u);
}

TEST_F(WeightsDigestTest, NoPlaceForItIsNoError) {
  const std::string path = Write("weights", "abc");
  for (const std::string& nowhere : {std::string(), path + "/below/a/file"}) {
    cache_ = nowhere;
    for (int start = 0; start < 2; ++start) {
      EXPECT_EQ(Compute({path}).value, kSha256OfAbc);
      EXPECT_GT(Compute({path}).reads, 0);
    }
  }
}

}  // namespace
}  // namespace hookwire::server
