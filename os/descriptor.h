// A file descriptor that closes itself.
#ifndef HOOKWIRE_OS_DESCRIPTOR_H_
#define HOOKWIRE_OS_DESCRIPTOR_H_

#include <utility>

#include "os/system.h"

namespace hookwire::os {

class Descriptor {
 public:
  Descriptor() = default;
  // `system` closes it, and must outlive it.
  explicit Descriptor(int fd, System& system = RealSystem()) : fd_(fd), system_(&system) {}
  ~Descriptor() {
    if (valid()) system_->Close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(other.Release()), system_(other.system_) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(system_, other.system_);
    return *this;
  }

  bool valid() const { return fd_ >= 0; }
  int get() const { return fd_; }
  // Returns the descriptor, which the caller then has to close.
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
  System* system_ = nullptr;
};

}  // namespace hookwire::os

#endif  // HOOKWIRE_OS_DESCRIPTOR_H_
