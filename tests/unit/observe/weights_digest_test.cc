#include "server/observe/weights_digest.h"

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <string>

#include "absl/time/clock.h"

namespace hookwire::server {
namespace {

std::string WriteFile(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + "/digest_" + name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

// FIPS 180-2, appendix B.1.
constexpr char kSha256OfAbc[] =
    "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
// B.3: a million times "a".
constexpr char kSha256OfMillionA[] =
    "sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

TEST(WeightsDigest, IsTheSha256OfTheFilesInOrder) {
  const WeightsDigest whole({WriteFile("abc", "abc")});
  const WeightsDigest parts({WriteFile("a", "a"), WriteFile("bc", "bc"), WriteFile("empty", "")});
  ASSERT_TRUE(whole.Wait(absl::Seconds(30)).ok());
  ASSERT_TRUE(parts.Wait(absl::Seconds(30)).ok());
  EXPECT_EQ(whole.value(), kSha256OfAbc);
  EXPECT_EQ(parts.value(), kSha256OfAbc);
}

TEST(WeightsDigest, ReadsFilesLargerThanItsBlock) {
  const WeightsDigest digest({WriteFile("many", std::string(1'000'000, 'a'))});
  ASSERT_TRUE(digest.Wait(absl::Seconds(30)).ok());
  EXPECT_EQ(digest.value(), kSha256OfMillionA);
}

TEST(WeightsDigest, StaysPendingWhereAFileCannotBeRead) {
  const WeightsDigest digest({testing::TempDir() + "/digest_nowhere"});
  EXPECT_EQ(digest.Wait(absl::Seconds(30)).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(digest.value(), "pending");
}

TEST(WeightsDigest, IsPendingAtFirstAndStopsAtOnce) {
  // Reading this device never ends.
  const absl::Time start = absl::Now();
  {
    const WeightsDigest digest({"/dev/zero"});
    EXPECT_EQ(digest.value(), "pending");
    EXPECT_TRUE(absl::IsDeadlineExceeded(digest.Wait(absl::Milliseconds(10))));
  }
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

}  // namespace
}  // namespace hookwire::server
