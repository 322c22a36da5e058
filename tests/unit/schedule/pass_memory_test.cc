#include "server/schedule/pass_memory.h"

#include <gtest/gtest.h>

namespace hookwire::server {
namespace {

TEST(PassMemory, AdmitsUpToItsLimit) {
  PassMemory memory(10);
  const auto a = memory.Admit("a", 6);
  EXPECT_TRUE(memory.Fits("b", 4));
  EXPECT_FALSE(memory.Fits("b", 5));
  memory.Return(a);
  EXPECT_TRUE(memory.Fits("b", 5));
  EXPECT_EQ(memory.used(), 0u);
}

TEST(PassMemory, ARunThatIsAloneAlwaysFits) {
  PassMemory memory(10);
  EXPECT_TRUE(memory.Fits("a", 1000));
}

TEST(PassMemory, WithoutALimitEverythingFits) {
  PassMemory memory(0);
  memory.Admit("a", 1'000'000);
  memory.Claim("b", 1'000'000);
  EXPECT_TRUE(memory.Fits("c", 1'000'000));
}

TEST(PassMemory, WhatBeginsAfterAClaimLeavesRoomForTheClaimant) {
  PassMemory memory(10);
  const auto a = memory.Admit("a", 3);
  const auto b = memory.Admit("b", 3);
  memory.Claim("large", 8);
  EXPECT_FALSE(memory.Fits("large", 8));
  EXPECT_FALSE(memory.Fits("c", 3)) << "3 + 8 are over the limit";
  EXPECT_TRUE(memory.Fits("d", 2));
  const auto d = memory.Admit("d", 2);
  EXPECT_FALSE(memory.Fits("e", 1)) << "2 + 1 + 8 are over the limit";
  memory.Return(d);
  EXPECT_TRUE(memory.Fits("e", 1));
  const auto e = memory.Admit("e", 2);
  memory.Return(a);
  memory.Return(b);
  EXPECT_TRUE(memory.Fits("large", 8)) << "beside the one that began after the claim";
  const auto large = memory.Admit("large", 8);
  EXPECT_FALSE(memory.has_claim());
  EXPECT_EQ(memory.used(), 10u);
  memory.Return(e);
  EXPECT_TRUE(memory.Fits("c", 2));
  memory.Return(large);
}

TEST(PassMemory, AClaimEndsWithItsRun) {
  PassMemory memory(10);
  memory.Admit("a", 3);
  memory.Claim("large", 8);
  EXPECT_FALSE(memory.EndClaim("other"));
  EXPECT_TRUE(memory.EndClaim("large"));
  EXPECT_TRUE(memory.Fits("c", 7));
}

TEST(PassMemory, RunsOfAnEarlierClaimAreNoRunsOfThisOne) {
  PassMemory memory(10);
  memory.Admit("a", 6);
  memory.Claim("large", 8);
  const auto b = memory.Admit("b", 2);
  memory.EndClaim("large");
  memory.Claim("next", 9);
  EXPECT_TRUE(memory.Fits("c", 1));
  const auto c = memory.Admit("c", 1);
  memory.Return(b);
  EXPECT_FALSE(memory.Fits("d", 1)) << "1 + 1 + 9 are over the limit";
  memory.Return(c);
  EXPECT_TRUE(memory.Fits("d", 1));
}

TEST(PassMemory, AsksAsManyToLeaveAsTheClaimantNeeds) {
  PassMemory memory(10);
  auto a = memory.Admit("a", 4);
  auto b = memory.Admit("b", 4);
  EXPECT_FALSE(memory.MustLeave(a)) << "nobody claims it";
  memory.Claim("large", 6);
  EXPECT_TRUE(memory.MustLeave(a));
  EXPECT_FALSE(memory.MustLeave(b)) << "4 + 6 fit once the first has ended";
  memory.Return(a);
  EXPECT_TRUE(memory.Fits("large", 6));
}

}  // namespace
}  // namespace hookwire::server
