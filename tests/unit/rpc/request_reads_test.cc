#include "server/rpc/request_reads.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace hookwire::server {
namespace {

struct FakeReader final : RequestReads::Reader {
  void TurnCame() override { ++turns; }
  int turns = 0;
};

class RequestReadsTest : public ::testing::Test {
 protected:
  // So many readers of a client, which have asked in this order.
  std::vector<std::shared_ptr<FakeReader>> Ask(const std::string& client, int count) {
    std::vector<std::shared_ptr<FakeReader>> readers;
    for (int i = 0; i < count; ++i) {
      readers.push_back(std::make_shared<FakeReader>());
      reads_.Ask(client, readers.back());
    }
    return readers;
  }
  static int Turns(const std::vector<std::shared_ptr<FakeReader>>& readers) {
    int turns = 0;
    for (const auto& reader : readers) turns += reader->turns;
    return turns;
  }

  RequestReads reads_{8};
};

TEST_F(RequestReadsTest, AClientHasHalfOfWhatOthersLeave) {
  const auto first = Ask("a", 10);
  EXPECT_EQ(Turns(first), 4);
  const auto second = Ask("b", 10);
  EXPECT_EQ(Turns(second), 2);
  // Whoever has none gets one as long as there is any.
  EXPECT_EQ(Turns(Ask("c", 10)), 1);
  EXPECT_EQ(Turns(Ask("d", 10)), 1);
  EXPECT_EQ(Turns(Ask("e", 10)), 0);
}

TEST_F(RequestReadsTest, TurnsComeInOrderWhenReadsEnd) {
  const auto readers = Ask("a", 6);
  reads_.GiveBack("a");
  EXPECT_EQ(readers[4]->turns, 1);
  EXPECT_EQ(readers[5]->turns, 0);
  reads_.GiveBack("a");
  EXPECT_EQ(readers[5]->turns, 1);
  for (int i = 0; i < 4; ++i) reads_.GiveBack("a");
  EXPECT_EQ(Turns(readers), 6);
}

TEST_F(RequestReadsTest, ClientsTakeTurns) {
  const auto all = Ask("a", 4);
  const auto rest = Ask("b", 10);
  const auto last = Ask("c", 10);
  EXPECT_EQ(Turns(rest), 2);
  EXPECT_EQ(Turns(last), 1);
  for (int i = 0; i < 4; ++i) reads_.GiveBack("a");
  EXPECT_EQ(Turns(rest), 3);
  EXPECT_EQ(Turns(last), 2);
}

TEST_F(RequestReadsTest, WhoHasLeftGetsNoTurn) {
  auto readers = Ask("a", 6);
  reads_.Leave("a", readers[4].get());
  EXPECT_EQ(readers[4].use_count(), 1);
  reads_.GiveBack("a");
  EXPECT_EQ(readers[4]->turns, 0);
  EXPECT_EQ(readers[5]->turns, 1);
  // Has had its turn, or is unknown: nothing happens.
  reads_.Leave("a", readers[0].get());
  reads_.Leave("b", readers[0].get());
}

TEST(ReadsForTest, AnEighthOfTheMemoryWithinLimits) {
  EXPECT_EQ(ReadsFor(uint64_t{1} << 20), 1u);
  EXPECT_EQ(WithoutReads(uint64_t{1} << 20), uint64_t{1} << 19);
  EXPECT_EQ(ReadsFor(uint64_t{64} << 20), 2u);
  EXPECT_EQ(WithoutReads(uint64_t{64} << 20), uint64_t{56} << 20);
  EXPECT_EQ(ReadsFor(uint64_t{256} << 20), 8u);
  EXPECT_EQ(ReadsFor(uint64_t{4352} << 20), 32u);
}

}  // namespace
}  // namespace hookwire::server
