#include "server/stream/stream_registry.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "tests/unit/stream/fake_reader.h"
#include "tests/unit/support/fake_clock.h"

namespace hookwire::server {
namespace {

class StreamRegistryTest : public testing::Test {
 protected:
  struct Call {
    Call(ByteBudget& budget, const Clock& clock) : stream({}, budget.Open(0), reader, clock) {}
    FakeReader reader;
    ResultStream stream;
  };

  std::unique_ptr<Call> MakeCall() {
    auto call = std::make_unique<Call>(*budget_, clock_);
    registry_.Add(&call->stream);
    return call;
  }

  FakeClock clock_;
  const std::shared_ptr<ByteBudget> budget_ = ByteBudget::Create(2000);
  StreamRegistry registry_{absl::Seconds(60), clock_};
};

TEST_F(StreamRegistryTest, EndsAStreamWhoseReaderStandsStill) {
  const auto stalled = MakeCall();
  const auto reading = MakeCall();
  stalled->stream.Open({});
  clock_.Advance(absl::Seconds(30));
  reading->stream.Open({});
  clock_.Advance(absl::Seconds(30));
  const absl::Time next = registry_.EndStalled(clock_.Now());
  EXPECT_TRUE(stalled->reader.broken());
  EXPECT_TRUE(absl::IsDeadlineExceeded(stalled->reader.broken_status()));
  EXPECT_FALSE(reading->reader.broken());
  EXPECT_EQ(next, clock_.Now() + absl::Seconds(30)) << "when the other could have stood still";
  registry_.Remove(&stalled->stream);
  registry_.Remove(&reading->stream);
}

TEST_F(StreamRegistryTest, AStalledReaderFreesABlockedRun) {
  const auto call = MakeCall();
  call->stream.Open({});
  ASSERT_TRUE(call->stream.Emit(0, 0, at::zeros({900}, at::kByte)).ok());
  std::thread run([&] {
    EXPECT_TRUE(absl::IsDeadlineExceeded(call->stream.Emit(1, 0, at::zeros({900}, at::kByte))));
  });
  clock_.Advance(absl::Seconds(60));
  registry_.EndStalled(clock_.Now());
  run.join();
  registry_.Remove(&call->stream);
}

TEST_F(StreamRegistryTest, LeavesAStreamAloneThatOwesItsReader) {
  const auto call = MakeCall();
  call->stream.Open({});
  call->reader.TakeAll(call->stream);
  clock_.Advance(absl::Hours(1));
  registry_.EndStalled(clock_.Now());
  EXPECT_FALSE(call->reader.broken());
  registry_.Remove(&call->stream);
}

TEST_F(StreamRegistryTest, AbandonAllEndsThoseThatComeLaterToo) {
  const auto before = MakeCall();
  registry_.AbandonAll(absl::UnavailableError("shutting down"));
  const auto after = MakeCall();
  EXPECT_TRUE(absl::IsUnavailable(before->stream.status()));
  EXPECT_TRUE(absl::IsUnavailable(after->stream.status()));
  registry_.Remove(&before->stream);
  registry_.Remove(&after->stream);
}

TEST_F(StreamRegistryTest, WaitsUntilItIsEmpty) {
  EXPECT_TRUE(registry_.WaitUntilEmpty(absl::InfinitePast()));
  const auto call = MakeCall();
  EXPECT_FALSE(registry_.WaitUntilEmpty(absl::Now() + absl::Milliseconds(10)));
  std::thread remove([&] { registry_.Remove(&call->stream); });
  EXPECT_TRUE(registry_.WaitUntilEmpty(absl::InfiniteFuture()));
  remove.join();
}

TEST(StreamRegistry, ItsThreadEndsStalledStreamsByItself) {
  const RealClock clock;
  const auto budget = ByteBudget::Create(2000);
  StreamRegistry registry(absl::Milliseconds(20), clock);
  FakeReader reader;
  ResultStream stream({}, budget->Open(0), reader, clock);
  registry.Add(&stream);
  stream.Open({});
  const absl::Time end = absl::Now() + absl::Seconds(10);
  while (!reader.broken() && absl::Now() < end) std::this_thread::yield();
  EXPECT_TRUE(reader.broken());
  registry.Remove(&stream);
}

}  // namespace
}  // namespace hookwire::server
