#include "model/adapter/glob.h"

#include <chrono>
#include <string>

#include "gtest/gtest.h"
#include "model/adapter/nearest.h"

namespace hookwire::model {
namespace {

TEST(GlobMatches, AStarStaysBetweenDots) {
  EXPECT_TRUE(GlobMatches("blocks.*.hook_out", "blocks.3.hook_out"));
  EXPECT_TRUE(GlobMatches("blocks.*.hook_out", "blocks.31.hook_out"));
  EXPECT_FALSE(GlobMatches("blocks.*.hook_out", "blocks.3.mlp.hook_out"));
  EXPECT_TRUE(GlobMatches("blocks.*.*.hook_out", "blocks.3.mlp.hook_out"));
  EXPECT_FALSE(GlobMatches("*", "blocks.3"));
  EXPECT_TRUE(GlobMatches("*", "hook_logits"));
  EXPECT_TRUE(GlobMatches("blocks.3*.hook_out", "blocks.3.hook_out"));
  EXPECT_TRUE(GlobMatches("blocks.3*.hook_out", "blocks.31.hook_out"));
  EXPECT_FALSE(GlobMatches("blocks.3*.hook_out", "blocks.13.hook_out"));
}

TEST(GlobMatches, TwoStarsCrossDots) {
  EXPECT_TRUE(GlobMatches("blocks.**.hook_out", "blocks.3.hook_out"));
  EXPECT_TRUE(GlobMatches("blocks.**.hook_out", "blocks.3.mlp.out.hook_out"));
  EXPECT_FALSE(GlobMatches("blocks.**.hook_out", "blocks.hook_out"));
  EXPECT_TRUE(GlobMatches("**", "blocks.3.mlp.out.hook_out"));
  EXPECT_TRUE(GlobMatches("**", ""));
  EXPECT_TRUE(GlobMatches("**hook_z", "blocks.3.attn.hook_z"));
  EXPECT_FALSE(GlobMatches("**hook_z", "blocks.3.attn.hook_z2"));
  EXPECT_TRUE(GlobMatches("***", "a.b"));
  EXPECT_TRUE(GlobMatches("*****", "a.b"));
}

TEST(GlobMatches, AnythingElseStandsForItself) {
  EXPECT_TRUE(GlobMatches("hook_embed", "hook_embed"));
  EXPECT_FALSE(GlobMatches("hook_embed", "hook_embe"));
  EXPECT_FALSE(GlobMatches("hook_embed", "hook_embedx"));
  EXPECT_FALSE(GlobMatches("hook?embed", "hook_embed"));
  EXPECT_FALSE(GlobMatches("[h]ook_embed", "hook_embed"));
  EXPECT_FALSE(GlobMatches("hook.embed", "hook_embed"));
  EXPECT_FALSE(GlobMatches("", "a"));
  EXPECT_TRUE(GlobMatches("", ""));
  EXPECT_FALSE(GlobMatches("*a", ""));
}

TEST(GlobMatches, StarsBacktrack) {
  EXPECT_TRUE(GlobMatches("*ab", "aab"));
  EXPECT_TRUE(GlobMatches("*a*b*", "xxaxxbxxbx"));
  EXPECT_FALSE(GlobMatches("*a*b*c", "xxaxxbxxbx"));
  EXPECT_TRUE(GlobMatches("**.a.*.c", "x.a.a.b.c"));
}

TEST(ShortestGlob, CutsRunsOfStars) {
  EXPECT_EQ(ShortestGlob("a*b**c***d******"), "a*b**c**d**");
  EXPECT_EQ(ShortestGlob(""), "");
  EXPECT_EQ(ShortestGlob("abc"), "abc");
}

// A matcher that backtracks would need exponential time for the first of these.
TEST(GlobMatches, AdversarialPatternsAreQuick) {
  const std::string name(60, 'a');
  const auto begin = std::chrono::steady_clock::now();
  std::string stars;
  for (int i = 0; i < 30; ++i) stars += "*a**a";
  EXPECT_FALSE(GlobMatches(stars + "b", name));
  std::string million;
  while (million.size() < 1'000'000) million += "*a";
  for (int i = 0; i < 10'000; ++i) EXPECT_FALSE(GlobMatches(million, name));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST(EditDistance, CountsInsertionsDeletionsAndSubstitutions) {
  EXPECT_EQ(EditDistance("", ""), 0u);
  EXPECT_EQ(EditDistance("abc", ""), 3u);
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
  EXPECT_EQ(EditDistance("hook_resid_pre", "hook_resid_prt"), 1u);
  EXPECT_EQ(EditDistance("ab", "ba"), 1u);
  EXPECT_EQ(EditDistance("hook_pots", "hook_post"), 1u);
}

TEST(NearestName, IsTheFirstOfTheNearest) {
  const std::vector<std::string> names = {"hook_q", "hook_k", "hook_v"};
  EXPECT_EQ(NearestName("hook_v", names), "hook_v");
  EXPECT_EQ(NearestName("hok_k", names), "hook_k");
  EXPECT_EQ(NearestName("hook_x", names), "hook_q");
  EXPECT_EQ(NearestName("hook_x", {}), "");
}

TEST(NearestName, LongNamesAreQuick) {
  const std::vector<std::string> names(10'000, std::string(40, 'b'));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(NearestName(std::string(4 << 20, 'a'), names), "");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

}  // namespace
}  // namespace hookwire::model
