// The other end of shared memory.
#ifndef HOOKWIRE_TESTS_UNIT_LOCAL_SHARED_CLIENT_H_
#define HOOKWIRE_TESTS_UNIT_LOCAL_SHARED_CLIENT_H_

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>

#include "os/descriptor.h"
#include "server/local/shared_memory.h"
#include "tests/unit/local/connect.h"

namespace hookwire::server {

// Takes what the server hands over, as soon as it is made.
class SharedClient {
 public:
  explicit SharedClient(const SharedMemory& memory)
      : connection_(ConnectTo({memory.socket(), true}, SOCK_SEQPACKET)) {
    EXPECT_TRUE(connection_.valid());
    Receive();
  }
  ~SharedClient() {
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

}  // namespace hookwire::server

#endif  // HOOKWIRE_TESTS_UNIT_LOCAL_SHARED_CLIENT_H_
