#include "server/observe/digest_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <optional>
#include <string>

#include "tests/unit/support/temp_directory.h"

namespace hookwire::server {
namespace {

namespace fs = std::filesystem;
using hookwire::testing::TempDirectory;

const std::string kDigest = "sha256:" + std::string(64, 'd');

model::FileStamp Stamp(uint64_t inode) {
  return {.device = 1, .inode = inode, .size = 3, .modified = absl::FromUnixSeconds(5)};
}

TEST(DigestCache, KeepsALimitedNumberAndNobodyElsesFiles) {
  const TempDirectory directory;
  const std::string own = directory.Write("own.digest", "mine");
  const DigestCache cache(directory.path());
  for (uint64_t i = 0; i < DigestCache::kMaxEntries + 10; ++i) cache.Put({Stamp(i)}, kDigest);
  const fs::directory_iterator entries(directory.path());
  EXPECT_EQ(std::distance(begin(entries), end(entries)), DigestCache::kMaxEntries + 1);
  EXPECT_TRUE(fs::exists(own));
  EXPECT_EQ(cache.Find({Stamp(DigestCache::kMaxEntries + 9)}), kDigest);
}

TEST(DigestCache, TheOldestGoFirst) {
  const TempDirectory directory;
  const DigestCache cache(directory.path());
  cache.Put({Stamp(0)}, kDigest);
  const fs::path first = fs::directory_iterator(directory.path())->path();
  fs::last_write_time(first, fs::file_time_type::clock::now() - std::chrono::hours(1));
  for (uint64_t i = 1; i < DigestCache::kMaxEntries; ++i) cache.Put({Stamp(i)}, kDigest);
  EXPECT_EQ(cache.Find({Stamp(0)}), kDigest);
  cache.Put({Stamp(DigestCache::kMaxEntries)}, kDigest);
  EXPECT_EQ(cache.Find({Stamp(0)}), std::nullopt);
  EXPECT_EQ(cache.Find({Stamp(1)}), kDigest);
}

// Sets an environment variable, and restores it at the end.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* const before = std::getenv(name)) before_ = before;
    value == nullptr ? unsetenv(name) : setenv(name, value, 1);
  }
  ~Variable() { before_ ? setenv(name_, before_->c_str(), 1) : unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* const name_;
  std::optional<std::string> before_;
};

TEST(DigestCache, IsWhereTheXdgSpecificationHasCaches) {
  const auto with = [](const char* cache, const char* home) {
    const Variable xdg("XDG_CACHE_HOME", cache);
    const Variable user("HOME", home);
    return DigestCache::DefaultDirectory();
  };
  EXPECT_EQ(with("/c", "/h"), "/c/hookwire/digests");
  EXPECT_EQ(with(nullptr, "/h"), "/h/.cache/hookwire/digests");
  EXPECT_EQ(with("", "/h"), "/h/.cache/hookwire/digests");
  EXPECT_EQ(with("relative", "/h"), "/h/.cache/hookwire/digests");
  EXPECT_EQ(with(nullptr, nullptr), "");
}

}  // namespace
}  // namespace hookwire::server
