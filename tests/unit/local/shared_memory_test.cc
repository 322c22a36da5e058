// Who gets memory, which runs get it, and when it is given back.

#include "server/local/shared_memory.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "tests/unit/local/memory_files.h"
#include "tests/unit/support/fake_clock.h"

namespace hookwire::server {
namespace {

constexpr uint64_t kBlock = Segment::kBlock;

// Whether it becomes true: what the threads do is seen a little later.
bool Eventually(const std::function<bool()>& condition) {
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return true;
}

// A run with one tensor of each of these sizes.
RunPlan PlanOf(const std::vector<uint64_t>& sizes) {
  RunPlan plan;
  CapturePlan capture;
  for (const uint64_t bytes : sizes) {
    capture.tensors.push_back({plan.n_tensors++, {}, {}, bytes});
    plan.total_bytes += bytes;
  }
  plan.captures.push_back(std::move(capture));
  return plan;
}

// The other end.
class Client {
 public:
  explicit Client(const SharedMemory& memory)
      : connection_(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    sockaddr_un where = {};
    where.sun_family = AF_UNIX;
    const std::string& name = memory.socket();
    std::memcpy(where.sun_path + 1, name.data(), name.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    EXPECT_EQ(connect(connection_.get(), reinterpret_cast<sockaddr*>(&where), size), 0);
    Receive();
  }
  ~Client() {
    if (data_ != nullptr) munmap(data_, size_);
  }

  // Empty where the server has hung up.
  const std::string& token() const { return token_; }
  const char* data() const { return static_cast<const char*>(data_); }
  void SayRead() const { EXPECT_EQ(send(connection_.get(), "", 1, MSG_NOSIGNAL), 1); }
  void HangUp() { connection_ = Descriptor(); }

 private:
  void Receive() {
    std::array<char, 64> bytes = {};
    iovec vector = {bytes.data(), bytes.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control = {};
    msghdr message = {};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = recvmsg(connection_.get(), &message, MSG_CMSG_CLOEXEC);
    if (size <= 0 || CMSG_FIRSTHDR(&message) == nullptr) return;
    token_.assign(bytes.data(), static_cast<size_t>(size));
    int file = -1;
    std::memcpy(&file, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(file));
    const Descriptor memory(file);
    size_ = static_cast<size_t>(lseek(memory.get(), 0, SEEK_END));
    data_ = mmap(nullptr, size_, PROT_READ, MAP_SHARED, memory.get(), 0);
    ASSERT_NE(data_, MAP_FAILED);
  }

  Descriptor connection_;
  std::string token_;
  size_t size_ = 0;
  void* data_ = nullptr;
};

class SharedMemoryTest : public ::testing::Test {
 protected:
  SharedMemoryTest() { Make({.max_bytes = 4 * kBlock}); }

  void Make(const SharedMemory::Options& options) {
    memory_ = nullptr;
    auto memory = SharedMemory::Create(options, clock_);
    ASSERT_TRUE(memory.ok()) << memory.status();
    memory_ = *std::move(memory);
  }

  std::unique_ptr<SharedResult> Lend(const Client& client, uint64_t bytes) {
    return memory_->Lend(client.token(), PlanOf({bytes}));
  }

  // A whole run, up to the client's byte.
  void RunToEnd(const Client& client, uint64_t bytes) {
    ASSERT_NE(Lend(client, bytes), nullptr);
    client.SayRead();
    // The server knows at the latest when it is asked again.
    ASSERT_NE(Lend(client, bytes), nullptr);
    client.SayRead();
  }

  FakeClock clock_;
  std::unique_ptr<SharedMemory> memory_;
};

TEST_F(SharedMemoryTest, ARunsTensorsAreWhereTheClientReads) {
  const Client client(*memory_);
  ASSERT_EQ(client.token().size(), 16u);
  const auto result = memory_->Lend(client.token(), PlanOf({1'000'000, 7, 300'000}));
  ASSERT_NE(result, nullptr);
  for (const auto& [index, offset, text] :
       {std::tuple{0u, 999'998u, "ab"}, {1u, 0u, "tensors"}, {2u, 0u, "cd"}}) {
    const uint64_t size = std::strlen(text);
    uint8_t* const place = result->Place(index, offset, size);
    ASSERT_NE(place, nullptr);
    std::memcpy(place, text, size);
    const std::optional<uint64_t> at = result->Find(place);
    ASSERT_TRUE(at.has_value());
    EXPECT_EQ(std::memcmp(client.data() + *at, text, size), 0) << text;
  }
  // None lies over another.
  EXPECT_GE(*result->Find(result->Place(1, 0, 7)),
            *result->Find(result->Place(0, 0, 1)) + 1'000'000);
  EXPECT_GE(*result->Find(result->Place(2, 0, 1)), *result->Find(result->Place(1, 0, 7)) + 7);
}

TEST_F(SharedMemoryTest, OtherMemoryIsNotFoundThere) {
  const Client client(*memory_);
  const auto result = Lend(client, kBlock);
  const char elsewhere = 0;
  EXPECT_FALSE(result->Find(&elsewhere).has_value());
  EXPECT_FALSE(result->Find(nullptr).has_value());
}

TEST_F(SharedMemoryTest, WhatDoesNotQualifyGoesInMessages) {
  const Client client(*memory_);
  EXPECT_EQ(memory_->Lend("", PlanOf({kBlock})), nullptr);
  EXPECT_EQ(memory_->Lend("0123456789abcdef", PlanOf({kBlock})), nullptr);
  EXPECT_EQ(memory_->Lend(client.token().substr(1), PlanOf({kBlock})), nullptr);
  EXPECT_EQ(Lend(client, 1000), nullptr) << "small";
  EXPECT_EQ(Lend(client, 4 * kBlock + 1), nullptr) << "more than there is";
  RunPlan asks = PlanOf({kBlock});
  asks.ops.emplace_back().kind = OpKind::kCallback;
  EXPECT_EQ(memory_->Lend(client.token(), asks), nullptr) << "a callback";
  EXPECT_NE(Lend(client, 4 * kBlock), nullptr);
}

TEST_F(SharedMemoryTest, TheNextRunGetsItWhenTheClientHasReadTheOneBefore) {
  const Client client(*memory_);
  auto first = Lend(client, kBlock);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(Lend(client, kBlock), nullptr) << "the first still writes";
  first = nullptr;
  EXPECT_EQ(Lend(client, kBlock), nullptr) << "the client still reads";
  client.SayRead();
  EXPECT_NE(Lend(client, kBlock), nullptr);
}

TEST_F(SharedMemoryTest, ClientsHaveMemoryOfTheirOwn) {
  const Client one(*memory_);
  const Client other(*memory_);
  const auto result = Lend(one, kBlock);
  const auto others = Lend(other, kBlock);
  *result->Place(0, 0, 1) = 'a';
  *others->Place(0, 0, 1) = 'b';
  EXPECT_EQ(*one.data(), 'a');
  EXPECT_EQ(*other.data(), 'b');
}

TEST_F(SharedMemoryTest, TogetherTheyKeepToTheLimit) {
  const Client one(*memory_);
  const Client other(*memory_);
  auto result = Lend(one, 3 * kBlock);
  ASSERT_NE(result, nullptr);
  EXPECT_EQ(Lend(other, 2 * kBlock), nullptr);
  auto fits = Lend(other, kBlock);
  EXPECT_NE(fits, nullptr);
  EXPECT_EQ(memory_->held(), 4 * kBlock);
}

TEST_F(SharedMemoryTest, MemoryThatNobodyUsesGoesToWhoeverNeedsIt) {
  const Client one(*memory_);
  const Client other(*memory_);
  RunToEnd(one, 3 * kBlock);
  ASSERT_TRUE(Eventually([&] { return Lend(other, 2 * kBlock) != nullptr; }));
  EXPECT_EQ(memory_->held(), 2 * kBlock);
}

TEST_F(SharedMemoryTest, MemoryThatAClientStillReadsStays) {
  const Client one(*memory_);
  const Client other(*memory_);
  auto result = Lend(one, 3 * kBlock);
  *result->Place(0, 0, 1) = 'a';
  result = nullptr;
  EXPECT_EQ(Lend(other, 2 * kBlock), nullptr);
  EXPECT_EQ(*one.data(), 'a');
}

TEST_F(SharedMemoryTest, IdleMemoryIsGivenBackInTime) {
  const Client client(*memory_);
  RunToEnd(client, 2 * kBlock);
  EXPECT_EQ(memory_->held(), 2 * kBlock);
  memory_->FreeIdle(clock_.Now() + absl::Seconds(9));
  EXPECT_EQ(memory_->held(), 2 * kBlock);
  ASSERT_TRUE(Eventually([&] {
    memory_->FreeIdle(clock_.Now() + absl::Seconds(10));
    return memory_->held() == 0;
  }));
  EXPECT_NE(Lend(client, 2 * kBlock), nullptr);
}

TEST_F(SharedMemoryTest, AClientThatGoesLeavesNothing) {
  const int before = CountMemoryFiles();
  {
    Client client(*memory_);
    ASSERT_NE(Lend(client, kBlock), nullptr);
    client.HangUp();
    EXPECT_TRUE(Eventually([&] { return memory_->held() == 0; }));
    EXPECT_EQ(Lend(client, kBlock), nullptr);
  }
  EXPECT_TRUE(Eventually([&] { return CountMemoryFiles() == before; }));
}

TEST_F(SharedMemoryTest, AClientThatGoesInTheMiddleLeavesNothingWhenItsRunEnds) {
  const int before = CountMemoryFiles();
  std::unique_ptr<SharedResult> result;
  {
    Client client(*memory_);
    result = Lend(client, kBlock);
  }
  EXPECT_NE(result->Place(0, 0, kBlock), nullptr);
  EXPECT_EQ(memory_->held(), kBlock);
  result = nullptr;
  EXPECT_TRUE(Eventually([&] { return memory_->held() == 0; }));
  EXPECT_TRUE(Eventually([&] { return CountMemoryFiles() == before; }));
}

TEST_F(SharedMemoryTest, ThereAreOnlySoManyClients) {
  Make({.max_bytes = 4 * kBlock, .max_clients = 1});
  const Client first(*memory_);
  EXPECT_NE(first.token(), "");
  EXPECT_EQ(Client(*memory_).token(), "");
}

TEST_F(SharedMemoryTest, AnotherUserIsHungUpOn) {
  // Only root can become another user; for others the rule itself is tested (MayHave).
  const bool can_change = geteuid() == 0;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const bool changed = can_change && setuid(65534) == 0;
    const Client client(*memory_);
    _exit(client.token().empty() == changed ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(SharedMemoryTest, TokensAndNamesAreNotToBeGuessed) {
  const Client one(*memory_);
  const Client other(*memory_);
  EXPECT_NE(one.token(), other.token());
  const std::string name = memory_->socket();
  Make({});
  EXPECT_NE(memory_->socket(), name);
  EXPECT_GE(name.size(), 32u);
}

}  // namespace
}  // namespace hookwire::server
