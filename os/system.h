// The calls to the operating system that model/checkpoint and server/local make.
#ifndef HOOKWIRE_OS_SYSTEM_H_
#define HOOKWIRE_OS_SYSTEM_H_

#include <dirent.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace hookwire::os {

// Each function is the system call (or the C library's function) of its name: it has the same
// result, and sets errno where it fails. Thread-safe.
//
// Two calls are not here: the sigaction that installs the SIGBUS handler, and the handler's mmap.
// The reasons are in model/checkpoint/sigbus_guard.cc.
class System {
 public:
  virtual ~System() = default;

  // Files.
  virtual int Open(const char* path, int flags) = 0;
  virtual int Close(int fd) = 0;
  virtual int Stat(const char* path, struct stat* out) = 0;
  virtual int Lstat(const char* path, struct stat* out) = 0;
  virtual int Fstat(int fd, struct stat* out) = 0;
  virtual ssize_t Read(int fd, void* to, size_t bytes) = 0;
  virtual int Unlink(const char* path) = 0;
  virtual int Flock(int fd, int operation) = 0;

  // Directories.
  virtual DIR* Opendir(const char* path) = 0;
  virtual dirent* Readdir(DIR* directory) = 0;
  virtual int Closedir(DIR* directory) = 0;

  // Memory. Mmap maps the first `bytes` of the file, where the system likes.
  virtual void* Mmap(size_t bytes, int protection, int flags, int fd) = 0;
  virtual int Munmap(void* begin, size_t bytes) = 0;
  virtual int Madvise(void* begin, size_t bytes, int advice) = 0;
  virtual int MemfdCreate(const char* name, unsigned flags) = 0;
  virtual int Ftruncate(int fd, off_t bytes) = 0;
  // fcntl with F_ADD_SEALS.
  virtual int AddSeals(int fd, int seals) = 0;

  // Sockets. Accept is accept4 without the peer's address.
  virtual int Socket(int domain, int type, int protocol) = 0;
  virtual int Bind(int fd, const sockaddr* address, socklen_t size) = 0;
  virtual int Listen(int fd, int backlog) = 0;
  virtual int Accept(int fd, int flags) = 0;
  virtual int Connect(int fd, const sockaddr* address, socklen_t size) = 0;
  virtual int Getsockopt(int fd, int level, int name, void* value, socklen_t* size) = 0;
  virtual ssize_t Sendmsg(int fd, const msghdr* message, int flags) = 0;
  virtual ssize_t Recv(int fd, void* to, size_t bytes, int flags) = 0;

  // Waiting.
  virtual int Poll(pollfd* fds, nfds_t n, int timeout_ms) = 0;
  virtual int Eventfd(unsigned initial, int flags) = 0;
  virtual int EventfdRead(int fd, uint64_t* value) = 0;
  virtual int EventfdWrite(int fd, uint64_t value) = 0;
  virtual int InotifyInit(int flags) = 0;
  virtual int InotifyAddWatch(int fd, const char* path, uint32_t events) = 0;

  virtual ssize_t Getrandom(void* to, size_t bytes) = 0;
};

// Makes the calls. It has no state, and lives until the process ends.
System& RealSystem();

// Makes the call again for as long as a signal interrupts it.
template <typename Call>
auto Uninterrupted(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

}  // namespace hookwire::os

#endif  // HOOKWIRE_OS_SYSTEM_H_
