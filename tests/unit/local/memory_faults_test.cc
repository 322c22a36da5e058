// Shared memory on a system whose calls fail: a client that cannot have memory gets its results in
// messages, the next one gets memory, and nothing is left open.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/local/segment.h"
#include "server/local/shared_memory.h"
#include "tests/unit/local/eventually.h"
#include "tests/unit/local/plan_of.h"
#include "tests/unit/local/shared_client.h"
#include "tests/unit/support/fake_clock.h"
#include "tests/unit/support/faulty_system.h"

namespace hookwire::server {
namespace {

using ::hookwire::testing::FaultySystem;
using ::testing::HasSubstr;

constexpr uint64_t kBlock = Segment::kBlock;

// Calls that are tested on their own, or that cannot fail in a way that matters: reading and
// writing an eventfd fail only where its counter says nothing new.
bool IsOfTheThreads(const std::string& name) {
  return name == "close" || name == "poll" || name == "eventfd_read" || name == "eventfd_write";
}

TEST(SegmentFaults, CreateSaysWhyAndLeavesNothing) {
  std::map<std::string, int> calls;
  {
    FaultySystem system;
    const auto segment = Segment::Create(kBlock, system);
    ASSERT_TRUE(segment.ok()) << segment.status();
    calls = system.calls();
  }
  for (const auto& [name, n] : calls) {
    // Huge pages are a wish.
    if (name == "close" || name == "madvise") continue;
    for (int k = 0; k < n; ++k) {
      SCOPED_TRACE(absl::StrCat(name, " ", k));
      FaultySystem system;
      system.Fail(name, k, EIO);
      const absl::Status status = Segment::Create(kBlock, system).status();
      EXPECT_THAT(std::string(status.message()), HasSubstr("shared memory"));
      EXPECT_THAT(std::string(status.message()), HasSubstr(std::strerror(EIO)));
      EXPECT_EQ(system.failed(), 1);
      EXPECT_EQ(system.descriptors(), 0u);
      EXPECT_EQ(system.mappings(), 0u);
    }
  }
}

TEST(SegmentFaults, SignalsDoNotMatter) {
  FaultySystem system;
  for (const char* name : {"ftruncate", "open"}) system.Fail(name, 0, EINTR);
  const auto segment = Segment::Create(kBlock, system);
  ASSERT_TRUE(segment.ok()) << segment.status();
  system.Restart();
  system.Fail("madvise", 0, EINTR, 3);
  EXPECT_NE((*segment)->Reserve(0, kBlock), nullptr);
  EXPECT_EQ(system.failed(), 3);
}

TEST(SegmentFaults, AnOlderKernelHasNoSealAgainstExecution) {
  FaultySystem system;
  system.Fail("memfd_create", 0, EINVAL);
  EXPECT_TRUE(Segment::Create(kBlock, system).ok());
}

TEST(SegmentFaults, AFullSystemIsMetBeforeItIsWrittenTo) {
  constexpr int kBlocks = 3;
  FaultySystem system;
  for (const int error : {ENOSPC, ENOMEM, EFAULT, EAGAIN, EHWPOISON}) {
    for (int k = 0; k < kBlocks; ++k) {
      const auto segment = Segment::Create(kBlocks * kBlock, system);
      ASSERT_TRUE(segment.ok()) << segment.status();
      system.Restart();
      system.Fail("madvise", k, error);
      EXPECT_EQ((*segment)->Reserve(0, kBlocks * kBlock), nullptr);
      EXPECT_EQ(errno, error);
      // Blocks before it have memory, and the others get it once there is some.
      EXPECT_EQ(system.calls().at("madvise"), k + 1);
      uint8_t* const data = (*segment)->Reserve(0, kBlocks * kBlock);
      ASSERT_NE(data, nullptr);
      EXPECT_EQ(system.calls().at("madvise"), kBlocks + 1);
      std::memset(data, 1, kBlocks * kBlock);
    }
  }
  EXPECT_EQ(system.descriptors(), 0u);
  EXPECT_EQ(system.mappings(), 0u);
}

class SharedMemoryFaults : public ::testing::Test {
 protected:
  absl::Status Make() {
    auto memory = SharedMemory::Create({.max_bytes = 4 * kBlock}, clock_, system_);
    if (!memory.ok()) return memory.status();
    memory_ = *std::move(memory);
    return absl::OkStatus();
  }

  std::unique_ptr<SharedResult> Lend(const SharedClient& client, uint64_t bytes) {
    return memory_->Lend(client.token(), PlanOf({bytes}));
  }

  // A run whose result is in shared memory, as the client sees it. False where it has to go in
  // messages.
  bool Run(const SharedClient& client) {
    const auto result = Lend(client, kBlock);
    if (result == nullptr) return false;
    uint8_t* const place = result->Buffer(0, 0, kBlock);
    if (place == nullptr) return false;
    std::memset(place, 7, kBlock);
    EXPECT_EQ(client.data()[0], 7);
    EXPECT_EQ(client.data()[kBlock - 1], 7);
    client.SayRead();
    return true;
  }

  FakeClock clock_;
  FaultySystem system_;
  std::unique_ptr<SharedMemory> memory_;
};

TEST_F(SharedMemoryFaults, CreateSaysWhyAndLeavesNothing) {
  std::map<std::string, int> calls;
  {
    ASSERT_TRUE(Make().ok());
    calls = system_.calls();
    memory_ = nullptr;
  }
  for (const auto& [name, n] : calls) {
    if (IsOfTheThreads(name)) continue;
    for (int k = 0; k < n; ++k) {
      // The first madvise wishes for huge pages; the second one reserves memory.
      if (name == "madvise" && k == 0) continue;
      SCOPED_TRACE(absl::StrCat(name, " ", k));
      system_.Restart();
      system_.Fail(name, k, EIO);
      const absl::Status status = Make();
      EXPECT_FALSE(status.ok());
      EXPECT_THAT(std::string(status.message()), HasSubstr(std::strerror(EIO)));
      EXPECT_EQ(system_.failed(), 1);
      memory_ = nullptr;
      EXPECT_EQ(system_.descriptors(), 0u);
      EXPECT_EQ(system_.mappings(), 0u);
    }
  }
}

TEST_F(SharedMemoryFaults, AClientThatCannotHaveMemoryGetsMessagesAndTheNextOneMemory) {
  std::map<std::string, int> calls;
  {
    ASSERT_TRUE(Make().ok());
    system_.Restart();
    EXPECT_TRUE(Run(SharedClient(*memory_)));
    calls = system_.calls();
    memory_ = nullptr;
  }
  // Without these there is no segment at all.
  const std::set<std::string> needed = {"getsockopt", "memfd_create", "ftruncate", "fcntl",
                                        "open",       "mmap",         "getrandom", "sendmsg"};
  for (const std::string& name : needed) EXPECT_GT(calls[name], 0) << name;
  for (const auto& [name, n] : calls) {
    if (IsOfTheThreads(name)) continue;
    for (int k = 0; k < n; ++k) {
      SCOPED_TRACE(absl::StrCat(name, " ", k));
      {
        system_.Restart();
        ASSERT_TRUE(Make().ok());
        system_.Restart();
        system_.Fail(name, k, ENOBUFS);
        const SharedClient first(*memory_);
        EXPECT_EQ(first.token().empty(), needed.contains(name));
        const bool shared = Run(first);
        EXPECT_FALSE(shared && needed.contains(name));
        system_.Restart();
        const SharedClient second(*memory_);
        EXPECT_TRUE(Run(second));
        memory_ = nullptr;
      }
      EXPECT_EQ(system_.descriptors(), 0u);
      EXPECT_EQ(system_.mappings(), 0u);
    }
  }
}

TEST_F(SharedMemoryFaults, SignalsDoNotMatter) {
  system_.Fail("getrandom", 0, EINTR);
  system_.Fail("poll", 0, EINTR, 4);
  ASSERT_TRUE(Make().ok());
  for (const char* name : {"accept4", "getrandom", "sendmsg", "recv"}) {
    system_.Restart();
    system_.Fail(name, 0, EINTR);
    EXPECT_TRUE(Run(SharedClient(*memory_))) << name;
    EXPECT_EQ(system_.failed(), 1) << name;
  }
}

// Two threads wait. If they did not pause, these calls would fail within microseconds.
TEST_F(SharedMemoryFaults, WaitingThatFailsDoesNotSpinAndGoesOn) {
  system_.Fail("poll", 0, ENOMEM, 10);
  const absl::Time start = absl::Now();
  ASSERT_TRUE(Make().ok());
  {
    ASSERT_TRUE(Eventually([&] { return system_.failed() == 10; }));
    EXPECT_GE(absl::Now() - start, absl::Milliseconds(300));
    const SharedClient client(*memory_);
    EXPECT_TRUE(Run(client));
    EXPECT_EQ(memory_->clients(), 1u);
  }
  EXPECT_TRUE(Eventually([&] { return memory_->clients() == 0; }));
}

TEST_F(SharedMemoryFaults, MemoryThatTheSystemDoesNotTakeBackStaysCounted) {
  ASSERT_TRUE(Make().ok());
  {
    const SharedClient first(*memory_);
    const SharedClient second(*memory_);
    ASSERT_NE(Lend(first, 3 * kBlock), nullptr);
    first.SayRead();
    system_.Restart();
    system_.Fail("madvise", 0, EOPNOTSUPP, 1000);
    // The second client's run needs the first one's memory.
    EXPECT_TRUE(Eventually([&] {
      EXPECT_EQ(Lend(second, 2 * kBlock), nullptr);
      return system_.failed() > 0;
    }));
    EXPECT_EQ(memory_->held(), 3 * kBlock);
    clock_.Advance(absl::Hours(1));
    memory_->FreeIdle(clock_.Now());
    EXPECT_EQ(memory_->held(), 3 * kBlock);
    system_.Restart();
    EXPECT_NE(Lend(second, 2 * kBlock), nullptr);
    EXPECT_EQ(memory_->held(), 2 * kBlock);
  }
  memory_ = nullptr;
  EXPECT_EQ(system_.descriptors(), 0u);
  EXPECT_EQ(system_.mappings(), 0u);
}

}  // namespace
}  // namespace hookwire::server
