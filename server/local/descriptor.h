// A file descriptor that closes itself.
#ifndef HOOKWIRE_SERVER_LOCAL_DESCRIPTOR_H_
#define HOOKWIRE_SERVER_LOCAL_DESCRIPTOR_H_

#include <unistd.h>

#include <utility>

namespace hookwire::server {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (valid()) close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(other.Release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  bool valid() const { return fd_ >= 0; }
  int get() const { return fd_; }
  // Returns the descriptor, which the caller then has to close.
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_LOCAL_DESCRIPTOR_H_
