#include "os/system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

namespace hookwire::os {
namespace {

class Linux final : public System {
 public:
  int Open(const char* path, int flags) override { return open(path, flags); }
  int Close(int fd) override { return close(fd); }
  int Stat(const char* path, struct stat* out) override { return stat(path, out); }
  int Lstat(const char* path, struct stat* out) override { return lstat(path, out); }
  int Fstat(int fd, struct stat* out) override { return fstat(fd, out); }
  ssize_t Read(int fd, void* to, size_t bytes) override { return read(fd, to, bytes); }
  int Unlink(const char* path) override { return unlink(path); }
  int Flock(int fd, int operation) override { return flock(fd, operation); }

  DIR* Opendir(const char* path) override { return opendir(path); }
  // Thread-safe where each thread reads a directory of its own.
  dirent* Readdir(DIR* directory) override { return readdir(directory); }
  int Closedir(DIR* directory) override { return closedir(directory); }

  void* Mmap(size_t bytes, int protection, int flags, int fd) override {
    return mmap(nullptr, bytes, protection, flags, fd, 0);
  }
  int Munmap(void* begin, size_t bytes) override { return munmap(begin, bytes); }
  int Madvise(void* begin, size_t bytes, int advice) override {
    return madvise(begin, bytes, advice);
  }
  int MemfdCreate(const char* name, unsigned flags) override { return memfd_create(name, flags); }
  int Ftruncate(int fd, off_t bytes) override { return ftruncate(fd, bytes); }
  int AddSeals(int fd, int seals) override { return fcntl(fd, F_ADD_SEALS, seals); }

  int Socket(int domain, int type, int protocol) override { return socket(domain, type, protocol); }
  int Bind(int fd, const sockaddr* address, socklen_t size) override {
    return bind(fd, address, size);
  }
  int Listen(int fd, int backlog) override { return listen(fd, backlog); }
  int Accept(int fd, int flags) override { return accept4(fd, nullptr, nullptr, flags); }
  int Connect(int fd, const sockaddr* address, socklen_t size) override {
    return connect(fd, address, size);
  }
  int Getsockopt(int fd, int level, int name, void* value, socklen_t* size) override {
    return getsockopt(fd, level, name, value, size);
  }
  ssize_t Sendmsg(int fd, const msghdr* message, int flags) override {
    return sendmsg(fd, message, flags);
  }
  ssize_t Recv(int fd, void* to, size_t bytes, int flags) override {
    return recv(fd, to, bytes, flags);
  }

  int Poll(pollfd* fds, nfds_t n, int timeout_ms) override { return poll(fds, n, timeout_ms); }
  int Eventfd(unsigned initial, int flags) override { return eventfd(initial, flags); }
  int EventfdRead(int fd, uint64_t* value) override { return eventfd_read(fd, value); }
  int EventfdWrite(int fd, uint64_t value) override { return eventfd_write(fd, value); }
  int InotifyInit(int flags) override { return inotify_init1(flags); }
  int InotifyAddWatch(int fd, const char* path, uint32_t events) override {
    return inotify_add_watch(fd, path, events);
  }

  ssize_t Getrandom(void* to, size_t bytes) override { return getrandom(to, bytes, 0); }
};

}  // namespace

System& RealSystem() {
  static Linux system;
  return system;
}

}  // namespace hookwire::os
