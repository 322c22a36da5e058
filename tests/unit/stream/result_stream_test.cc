#include "server/stream/result_stream.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "tests/unit/stream/fake_reader.h"
#include "tests/unit/support/fake_clock.h"

namespace hookwire::server {
namespace {

using Event = v1::RunResponse;

std::string BytesOf(uint32_t index, size_t size) {
  return std::string(size, static_cast<char>('a' + index % 26));
}

at::Tensor TensorOf(uint32_t index, size_t size) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(size)}, at::kByte);
  const std::string bytes = BytesOf(index, size);
  if (size > 0) std::memcpy(tensor.mutable_data_ptr(), bytes.data(), size);
  return tensor;
}

class ResultStreamTest : public testing::Test {
 protected:
  ResultStreamTest() { Make({}, 1u << 20); }

  void Make(const ResultStream::Options& options, uint64_t budget) {
    stream_.reset();
    // A small result: half of the limit is its own.
    budget_ = ByteBudget::Create(2 * budget);
    stream_.emplace(options, budget_->Open(0), reader_, clock_);
  }

  void Open() {
    v1::RunResponse event;
    event.mutable_accepted()->set_run_id("run");
    stream_->Open(event);
  }

  absl::Status Emit(uint32_t index, size_t size) {
    return stream_->Emit(index, 0, TensorOf(index, size));
  }

  void End() {
    v1::Receipt receipt;
    receipt.set_run_id("run");
    stream_->End(receipt);
  }

  std::vector<Event::EventCase> Events() const {
    std::vector<Event::EventCase> events;
    for (const Event& event : reader_.taken()) events.push_back(event.event_case());
    return events;
  }

  FakeClock clock_;
  FakeReader reader_;
  std::shared_ptr<ByteBudget> budget_;
  std::optional<ResultStream> stream_;
};

TEST_F(ResultStreamTest, SendsAcceptedThenTensorsThenReceipt) {
  Open();
  reader_.TakeAll(*stream_);
  ASSERT_TRUE(Emit(0, 1000).ok());
  reader_.TakeAll(*stream_);
  End();
  reader_.TakeAll(*stream_);
  EXPECT_THAT(Events(), testing::ElementsAre(Event::kAccepted, Event::kTensors, Event::kReceipt));
  EXPECT_TRUE(reader_.closed());
  EXPECT_EQ(reader_.Tensors()[0], BytesOf(0, 1000));
  EXPECT_EQ(budget_->held(), 0u);
}

TEST_F(ResultStreamTest, ATensorMayComeInPieces) {
  ResultStream::Options options;
  options.max_message_bytes = 4096;
  Make(options, 1u << 20);
  Open();
  const at::Tensor whole = TensorOf(3, 20'000);
  for (const auto& [from, to] : {std::pair{0, 9'000}, {9'000, 9'001}, {9'001, 20'000}}) {
    ASSERT_TRUE(
        stream_->Emit(3, static_cast<uint64_t>(from), whole.slice(0, from, to).clone()).ok());
    reader_.TakeAll(*stream_);
  }
  End();
  reader_.TakeAll(*stream_);
  EXPECT_EQ(reader_.Tensors()[3], BytesOf(3, 20'000));
  EXPECT_EQ(stream_->tensors(), 1u);
  EXPECT_EQ(stream_->bytes(), 20'000u);
}

TEST_F(ResultStreamTest, WhatLiesInSharedMemoryIsSaidAndHoldsNothing) {
  Make({}, 1000);
  Open();
  reader_.TakeAll(*stream_);
  // Far more than the budget, and nobody reads.
  for (uint32_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(stream_->EmitShared(i, 0, 1'000'000, uint64_t{i} * 1'000'000).ok());
  }
  EXPECT_EQ(budget_->held(), 0u);
  ASSERT_TRUE(Emit(3, 10).ok());
  End();
  reader_.TakeAll(*stream_);
  std::vector<uint64_t> places;
  for (const Event& event : reader_.taken()) {
    for (const v1::TensorChunk& chunk : event.tensors().chunks()) {
      if (chunk.tensor() < 3) {
        EXPECT_EQ(chunk.shared_bytes(), 1'000'000u);
        EXPECT_EQ(chunk.data(), "");
        places.push_back(chunk.shared_offset());
      }
    }
  }
  EXPECT_THAT(places, testing::ElementsAre(0u, 1'000'000u, 2'000'000u));
  EXPECT_EQ(reader_.Tensors()[3], BytesOf(3, 10));
  EXPECT_EQ(stream_->tensors(), 4u);
  EXPECT_EQ(stream_->bytes(), 3'000'010u);
}

TEST_F(ResultStreamTest, SharedPiecesFailWithTheStream) {
  Open();
  stream_->Cancel(absl::CancelledError("gone"));
  EXPECT_EQ(stream_->EmitShared(0, 0, 10, 0), absl::CancelledError("gone"));
}

TEST_F(ResultStreamTest, AcceptedIsFirstEvenWhereTheRunIsFaster) {
  ASSERT_TRUE(Emit(0, 10).ok());
  End();
  EXPECT_FALSE(reader_.outstanding());
  Open();
  reader_.TakeAll(*stream_);
  EXPECT_THAT(Events(), testing::ElementsAre(Event::kAccepted, Event::kTensors, Event::kReceipt));
}

TEST_F(ResultStreamTest, TheFirstTensorLeavesAtOnce) {
  Open();
  reader_.TakeAll(*stream_);
  ASSERT_TRUE(Emit(5, 10).ok());
  EXPECT_TRUE(reader_.outstanding());
}

TEST_F(ResultStreamTest, ManySmallTensorsShareAMessage) {
  Open();
  for (uint32_t i = 0; i < 600; ++i) {
    ASSERT_TRUE(Emit(i, 256).ok());
    reader_.TakeAll(*stream_);
  }
  End();
  reader_.TakeAll(*stream_);
  EXPECT_EQ(Events().size(), 4u) << "accepted, the first tensor, the others, receipt";
  const auto tensors = reader_.Tensors();
  ASSERT_EQ(tensors.size(), 600u);
  for (const auto& [index, bytes] : tensors) EXPECT_EQ(bytes, BytesOf(index, 256));
}

TEST_F(ResultStreamTest, SmallTensorsThatComeSlowlyLeaveAtOnce) {
  Open();
  for (uint32_t i = 0; i < 5; ++i) {
    clock_.Advance(absl::Milliseconds(2));
    reader_.TakeAll(*stream_);
    ASSERT_TRUE(Emit(i, 10).ok());
    EXPECT_TRUE(reader_.outstanding()) << i;
  }
}

TEST_F(ResultStreamTest, WhatWasHeldBackLeavesWithTheNextLayer) {
  Open();
  reader_.TakeAll(*stream_);
  ASSERT_TRUE(Emit(0, 10).ok());
  reader_.TakeAll(*stream_);
  ASSERT_TRUE(Emit(1, 10).ok());
  EXPECT_FALSE(reader_.outstanding());
  clock_.Advance(absl::Milliseconds(2));
  ASSERT_TRUE(stream_->Progress(1).ok());
  EXPECT_TRUE(reader_.outstanding());
}

TEST_F(ResultStreamTest, MuchThatWaitsLeavesAtOnce) {
  Open();
  reader_.TakeAll(*stream_);
  ASSERT_TRUE(Emit(0, 10).ok());
  reader_.TakeAll(*stream_);
  ASSERT_TRUE(Emit(1, 300 << 10).ok());
  EXPECT_TRUE(reader_.outstanding());
}

TEST_F(ResultStreamTest, MuchThatWaitsInSharedMemoryWaitsOn) {
  Open();
  reader_.TakeAll(*stream_);
  ASSERT_TRUE(Emit(0, 10).ok());
  reader_.TakeAll(*stream_);
  ASSERT_TRUE(stream_->EmitShared(1, 0, 4 << 20, 0).ok());
  EXPECT_FALSE(reader_.outstanding());
  clock_.Advance(absl::Milliseconds(2));
  ASSERT_TRUE(stream_->EmitShared(2, 0, 4 << 20, 4 << 20).ok());
  EXPECT_TRUE(reader_.outstanding());
}

TEST_F(ResultStreamTest, TheLongerTheStreamTheLongerSmallTensorsWait) {
  Open();
  reader_.TakeAll(*stream_);
  ASSERT_TRUE(Emit(0, 10).ok());
  reader_.TakeAll(*stream_);
  clock_.Advance(absl::Milliseconds(160));
  ASSERT_TRUE(Emit(1, 10).ok());
  reader_.TakeAll(*stream_);
  clock_.Advance(absl::Milliseconds(9));
  ASSERT_TRUE(Emit(2, 10).ok());
  EXPECT_FALSE(reader_.outstanding());
  clock_.Advance(absl::Milliseconds(3));
  ASSERT_TRUE(Emit(3, 10).ok());
  EXPECT_TRUE(reader_.outstanding());
}

TEST_F(ResultStreamTest, LargeTensorsAreCutToTheMessageSize) {
  Make({.max_message_bytes = 64 << 10}, 8u << 20);
  Open();
  ASSERT_TRUE(Emit(0, 1'000'000).ok());
  ASSERT_TRUE(Emit(1, 100).ok());
  ASSERT_TRUE(Emit(2, 200'000).ok());
  End();
  reader_.TakeAll(*stream_);
  for (const size_t size : reader_.sizes()) EXPECT_LE(size, 64u << 10);
  EXPECT_LE(reader_.sizes().size(), 2u + 1'200'100 / (64 << 10) + 3);
  auto tensors = reader_.Tensors();
  EXPECT_EQ(tensors[0], BytesOf(0, 1'000'000));
  EXPECT_EQ(tensors[1], BytesOf(1, 100));
  EXPECT_EQ(tensors[2], BytesOf(2, 200'000));
}

TEST_F(ResultStreamTest, ATensorWithoutElementsIsSentToo) {
  Open();
  ASSERT_TRUE(Emit(0, 0).ok());
  ASSERT_TRUE(Emit(1, 0).ok());
  End();
  reader_.TakeAll(*stream_);
  EXPECT_EQ(reader_.Tensors().size(), 2u);
}

TEST_F(ResultStreamTest, EmitBlocksWhileTheReaderIsBehind) {
  Make({}, 1000);
  Open();
  ASSERT_TRUE(Emit(0, 600).ok());
  absl::Notification emitted;
  std::thread run([&] {
    EXPECT_TRUE(Emit(1, 600).ok());
    emitted.Notify();
  });
  EXPECT_FALSE(emitted.WaitForNotificationWithTimeout(absl::Milliseconds(20)));
  EXPECT_EQ(budget_->held(), 600u);
  EXPECT_TRUE(reader_.Take(*stream_));  // accepted
  EXPECT_FALSE(emitted.WaitForNotificationWithTimeout(absl::Milliseconds(20)));
  EXPECT_TRUE(reader_.Take(*stream_));  // tensor 0
  run.join();
  EXPECT_EQ(budget_->peak(), 600u);
}

TEST_F(ResultStreamTest, WhatIsHeldBackLeavesBeforeEmitBlocks) {
  Make({}, 1000);
  Open();
  reader_.TakeAll(*stream_);
  ASSERT_TRUE(Emit(0, 10).ok());
  reader_.TakeAll(*stream_);
  ASSERT_TRUE(Emit(1, 600).ok());
  ASSERT_FALSE(reader_.outstanding());
  std::thread run([&] { EXPECT_TRUE(Emit(2, 600).ok()); });
  while (!reader_.Take(*stream_)) std::this_thread::yield();
  run.join();
}

TEST_F(ResultStreamTest, AfterATensorLargerThanItsShareEmitWaitsForTheReader) {
  Make({}, 1000);
  Open();
  absl::Notification emitted;
  std::thread run([&] {
    EXPECT_TRUE(Emit(0, 5000).ok());
    emitted.Notify();
  });
  while (!reader_.Take(*stream_)) std::this_thread::yield();  // accepted
  EXPECT_FALSE(emitted.WaitForNotificationWithTimeout(absl::Milliseconds(20)));
  while (!reader_.Take(*stream_)) std::this_thread::yield();
  run.join();
  EXPECT_EQ(budget_->held(), 0u);
}

TEST_F(ResultStreamTest, MemoryStaysWithinTheBudgetWhateverTheResult) {
  constexpr size_t kBudget = 1 << 20;
  Make({.max_message_bytes = 64 << 10}, kBudget);
  Open();
  std::thread run([&] {
    for (uint32_t i = 0; i < 200; ++i) ASSERT_TRUE(Emit(i, 100'000).ok());
    End();
  });
  while (!reader_.closed()) {
    if (!reader_.Take(*stream_)) std::this_thread::yield();
  }
  run.join();
  reader_.TakeAll(*stream_);
  EXPECT_LE(budget_->peak(), kBudget);
  EXPECT_EQ(reader_.Tensors().size(), 200u);
  EXPECT_EQ(budget_->held(), 0u);
}

TEST_F(ResultStreamTest, CancelWakesABlockedEmitAndDropsWhatWaits) {
  Make({}, 1000);
  Open();
  ASSERT_TRUE(Emit(0, 900).ok());
  std::thread run([&] {
    const absl::Status status = Emit(1, 900);
    EXPECT_TRUE(absl::IsCancelled(status)) << status;
    stream_->Fail(status);
  });
  stream_->Cancel(absl::CancelledError("gone"));
  run.join();
  EXPECT_EQ(budget_->held(), 0u);
  EXPECT_FALSE(reader_.closed()) << "accepted is still being written";
  reader_.TakeAll(*stream_);
  EXPECT_TRUE(reader_.closed());
  EXPECT_TRUE(absl::IsCancelled(reader_.status()));
}

TEST_F(ResultStreamTest, CancelWakesABlockedEmitWhileTheTransportHoldsEverything) {
  Make({}, 1000);
  Open();
  reader_.TakeAll(*stream_);
  ASSERT_TRUE(Emit(0, 900).ok());
  ASSERT_TRUE(reader_.outstanding());
  absl::Notification ended;
  std::thread run([&] {
    EXPECT_TRUE(absl::IsCancelled(Emit(1, 900)));
    ended.Notify();
  });
  EXPECT_FALSE(ended.WaitForNotificationWithTimeout(absl::Milliseconds(20)));
  stream_->Cancel(absl::CancelledError("gone"));
  run.join();
}

TEST_F(ResultStreamTest, CancelWhileItDrainsEndsTheCall) {
  Open();
  ASSERT_TRUE(Emit(0, 900).ok());
  End();
  stream_->Cancel(absl::CancelledError("gone"));
  reader_.Lose(*stream_);
  EXPECT_TRUE(reader_.closed());
  EXPECT_TRUE(absl::IsCancelled(reader_.status()));
  EXPECT_EQ(budget_->held(), 0u);
}

TEST_F(ResultStreamTest, NothingIsClosedWhileTheRunStillGoes) {
  Open();
  reader_.TakeAll(*stream_);
  stream_->Cancel(absl::CancelledError("gone"));
  EXPECT_FALSE(reader_.closed());
  EXPECT_TRUE(absl::IsCancelled(stream_->Progress(1)));
  stream_->Fail(absl::CancelledError("ended"));
  EXPECT_TRUE(reader_.closed());
  EXPECT_EQ(reader_.status().message(), "gone") << "the first failure counts";
}

TEST_F(ResultStreamTest, ALostClientEndsTheRun) {
  Open();
  reader_.Lose(*stream_);
  EXPECT_TRUE(absl::IsCancelled(Emit(0, 10)));
}

TEST_F(ResultStreamTest, AFailedRunDropsWhatWaitsAndTellsWhy) {
  Open();
  ASSERT_TRUE(Emit(0, 10).ok());
  ASSERT_TRUE(Emit(1, 10).ok());
  stream_->Fail(absl::InternalError("broke"));
  reader_.TakeAll(*stream_);
  EXPECT_THAT(Events(), testing::ElementsAre(Event::kAccepted));
  EXPECT_EQ(reader_.status(), absl::InternalError("broke"));
}

// The budget's callback runs where a tensor's bytes are given back, and takes the scheduler's
// mutex.
TEST_F(ResultStreamTest, HoldsNoLockWhileItFreesTensors) {
  const auto expect_unlocked = [](const char* when, auto&& free_tensors) {
    FakeClock clock;
    FakeReader reader;
    const std::shared_ptr<ByteBudget> budget = ByteBudget::Create(1u << 20);
    const std::shared_ptr<ByteBudget::Account> account = budget->Open(2000);
    ASSERT_TRUE(account->Reserve());
    ResultStream stream({}, account, reader, clock);
    for (const uint32_t i : {0u, 1u}) ASSERT_TRUE(stream.Emit(i, 0, TensorOf(i, 1000)).ok());
    int calls = 0;
    int unlocked = 0;
    std::vector<std::thread> others;
    budget->NotifyRoom([&] {
      ++calls;
      const auto asked = std::make_shared<absl::Notification>();
      others.emplace_back([&stream, asked] {
        EXPECT_EQ(stream.bytes(), 2000u);  // takes the stream's mutex
        asked->Notify();
      });
      if (asked->WaitForNotificationWithTimeout(absl::Seconds(5))) ++unlocked;
    });
    free_tensors(stream, reader);
    budget->NotifyRoom(nullptr);
    for (std::thread& other : others) other.join();
    EXPECT_EQ(calls, 2) << when;
    EXPECT_EQ(unlocked, 2) << when;
  };
  const auto open = [](ResultStream& stream, FakeReader& reader) {
    stream.Open(v1::RunResponse());
    ASSERT_TRUE(reader.Take(stream));
  };
  expect_unlocked("cancelled", [](ResultStream& stream, FakeReader&) {
    stream.Cancel(absl::CancelledError("gone"));
  });
  expect_unlocked("failed", [](ResultStream& stream, FakeReader&) {
    stream.Fail(absl::InternalError("failed"));
  });
  expect_unlocked("sent", [&](ResultStream& stream, FakeReader& reader) {
    open(stream, reader);
    ASSERT_TRUE(reader.Take(stream));
  });
  expect_unlocked("lost", [&](ResultStream& stream, FakeReader& reader) {
    open(stream, reader);
    reader.Lose(stream);
  });
}

TEST_F(ResultStreamTest, AbandonBreaksTheCallOff) {
  Open();
  stream_->Abandon(absl::DeadlineExceededError("too slow"));
  EXPECT_TRUE(reader_.broken());
  EXPECT_TRUE(absl::IsDeadlineExceeded(Emit(0, 1)));
}

TEST_F(ResultStreamTest, AbandonLetsTheCallEndWhereTheReaderReads) {
  Open();
  reader_.TakeAll(*stream_);
  stream_->Abandon(absl::UnavailableError("shutting down"));
  EXPECT_FALSE(reader_.broken());
  stream_->Fail(Emit(0, 1));
  EXPECT_EQ(reader_.status(), absl::UnavailableError("shutting down"));
}

TEST_F(ResultStreamTest, ProgressIsForLongRunsAndNotTooOften) {
  Open();
  reader_.TakeAll(*stream_);
  ASSERT_TRUE(stream_->Progress(1).ok());
  EXPECT_FALSE(reader_.outstanding());
  for (int layer = 2; layer < 52; ++layer) {
    clock_.Advance(absl::Milliseconds(10));
    ASSERT_TRUE(stream_->Progress(layer).ok());
    reader_.TakeAll(*stream_);
  }
  // 500 ms at 50 ms.
  EXPECT_EQ(Events().size(), 1u + 10u);
  EXPECT_EQ(reader_.taken().back().progress().layers_done(), 51u);
}

TEST_F(ResultStreamTest, KnowsSinceWhenTheReaderOwesIt) {
  EXPECT_EQ(stream_->waiting_since(), absl::InfiniteFuture());
  Open();
  const absl::Time opened = clock_.Now();
  clock_.Advance(absl::Seconds(5));
  EXPECT_EQ(stream_->waiting_since(), opened);
  reader_.TakeAll(*stream_);
  EXPECT_EQ(stream_->waiting_since(), absl::InfiniteFuture());
  End();
  EXPECT_EQ(stream_->waiting_since(), clock_.Now()) << "the call has not been read to its end";
}

TEST_F(ResultStreamTest, CountsWhatWasEmitted) {
  Open();
  ASSERT_TRUE(Emit(0, 10).ok());
  ASSERT_TRUE(Emit(1, 30).ok());
  EXPECT_EQ(stream_->tensors(), 2u);
  EXPECT_EQ(stream_->bytes(), 40u);
}

}  // namespace
}  // namespace hookwire::server
