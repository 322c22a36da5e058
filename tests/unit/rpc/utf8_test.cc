#include "server/rpc/utf8.h"

#include <gtest/gtest.h>

namespace hookwire::server {
namespace {

constexpr char kBad[] = "\xEF\xBF\xBD";

TEST(ValidUtf8, LeavesValidTextAlone) {
  for (const char* text : {"", "plain", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x90\x8D"}) {
    EXPECT_EQ(ValidUtf8(text, 100), text);
  }
}

TEST(ValidUtf8, ReplacesWhatIsNone) {
  const std::string bad = kBad;
  EXPECT_EQ(ValidUtf8("\x80", 100), bad);
  EXPECT_EQ(ValidUtf8("a\xC3", 100), "a" + bad) << "cut off";
  EXPECT_EQ(ValidUtf8("\xC0\x80", 100), bad + bad) << "overlong";
  EXPECT_EQ(ValidUtf8("\xE0\x80\x80", 100), bad + bad + bad) << "overlong";
  EXPECT_EQ(ValidUtf8("\xED\xA0\x80", 100), bad + bad + bad) << "a surrogate";
  EXPECT_EQ(ValidUtf8("\xF4\x90\x80\x80", 100), bad + bad + bad + bad) << "beyond U+10FFFF";
}

TEST(ValidUtf8, CutsBetweenCharacters) {
  EXPECT_EQ(ValidUtf8("abcdef", 6), "abcdef");
  EXPECT_EQ(ValidUtf8("abcdefg", 6), "abc\xE2\x80\xA6");
  EXPECT_EQ(ValidUtf8("a\xE2\x82\xAC\xE2\x82\xAC", 6), "a\xE2\x80\xA6");
  EXPECT_EQ(ValidUtf8("abcdef", 2), "");
}

}  // namespace
}  // namespace hookwire::server
