// An os::System whose calls a test can make fail, and that counts what is open. Header-only.
#ifndef HOOKWIRE_TESTS_UNIT_SUPPORT_FAULTY_SYSTEM_H_
#define HOOKWIRE_TESTS_UNIT_SUPPORT_FAULTY_SYSTEM_H_

#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "os/system.h"

namespace hookwire::testing {

// Makes the real calls, but for those that it was told to fail. A call is named as in the C
// library: "open", "accept4". Thread-safe.
//
// A close that fails has closed the descriptor all the same, as on Linux. Munmap never fails here:
// where it does, nobody can do anything about the mapping.
class FaultySystem final : public os::System {
 public:
  // Lets call number `first` of this name fail with `error`, and the `times - 1` after it. Numbers
  // begin at 0 with the last Restart.
  void Fail(const std::string& name, int first, int error, int times = 1) {
    absl::MutexLock lock(&mutex_);
    faults_.push_back({name, first, times, error});
  }
  // Lets a read give at most so many bytes.
  void LimitReads(size_t bytes) {
    absl::MutexLock lock(&mutex_);
    most_read_ = bytes;
  }
  // Counts calls from 0 again, and forgets the faults.
  void Restart() {
    absl::MutexLock lock(&mutex_);
    calls_.clear();
    faults_.clear();
    failed_ = 0;
  }

  // How often each call was made since the last Restart, and how many failed because of Fail.
  std::map<std::string, int> calls() const {
    absl::MutexLock lock(&mutex_);
    return calls_;
  }
  int failed() const {
    absl::MutexLock lock(&mutex_);
    return failed_;
  }
  // What was opened and mapped through this object, and is still there.
  size_t descriptors() const {
    absl::MutexLock lock(&mutex_);
    return descriptors_.size();
  }
  size_t mappings() const {
    absl::MutexLock lock(&mutex_);
    return mappings_.size();
  }

  int Open(const char* path, int flags) override {
    return Opened(Call("open", [&] { return real_.Open(path, flags); }));
  }
  int Close(int fd) override {
    {
      absl::MutexLock lock(&mutex_);
      EXPECT_EQ(descriptors_.erase(fd), 1u) << "closes " << fd << ", which is not open";
    }
    const int result = real_.Close(fd);
    return Call("close", [&] { return result; });
  }
  int Stat(const char* path, struct stat* out) override {
    return Call("stat", [&] { return real_.Stat(path, out); });
  }
  int Lstat(const char* path, struct stat* out) override {
    return Call("lstat", [&] { return real_.Lstat(path, out); });
  }
  int Fstat(int fd, struct stat* out) override {
    return Call("fstat", [&] { return real_.Fstat(fd, out); });
  }
  ssize_t Read(int fd, void* to, size_t bytes) override {
    return Call("read", [&] { return real_.Read(fd, to, std::min(bytes, MostRead())); });
  }
  int Unlink(const char* path) override {
    return Call("unlink", [&] { return real_.Unlink(path); });
  }
  int Flock(int fd, int operation) override {
    return Call("flock", [&] { return real_.Flock(fd, operation); });
  }

  DIR* Opendir(const char* path) override {
    if (Fails("opendir")) return nullptr;
    DIR* const directory = real_.Opendir(path);
    if (directory == nullptr) return nullptr;
    absl::MutexLock lock(&mutex_);
    descriptors_.insert(dirfd(directory));
    return directory;
  }
  dirent* Readdir(DIR* directory) override {
    return Fails("readdir") ? nullptr : real_.Readdir(directory);
  }
  int Closedir(DIR* directory) override {
    {
      absl::MutexLock lock(&mutex_);
      EXPECT_EQ(descriptors_.erase(dirfd(directory)), 1u) << "closes what is not open";
    }
    const int result = real_.Closedir(directory);
    return Call("closedir", [&] { return result; });
  }

  void* Mmap(size_t bytes, int protection, int flags, int fd) override {
    if (Fails("mmap")) return MAP_FAILED;
    void* const begin = real_.Mmap(bytes, protection, flags, fd);
    if (begin == MAP_FAILED) return begin;
    absl::MutexLock lock(&mutex_);
    mappings_.insert(begin);
    return begin;
  }
  int Munmap(void* begin, size_t bytes) override {
    {
      absl::MutexLock lock(&mutex_);
      EXPECT_EQ(mappings_.erase(begin), 1u) << "unmaps what is not mapped";
    }
    return real_.Munmap(begin, bytes);
  }
  int Madvise(void* begin, size_t bytes, int advice) override {
    return Call("madvise", [&] { return real_.Madvise(begin, bytes, advice); });
  }
  int MemfdCreate(const char* name, unsigned flags) override {
    return Opened(Call("memfd_create", [&] { return real_.MemfdCreate(name, flags); }));
  }
  int Ftruncate(int fd, off_t bytes) override {
    return Call("ftruncate", [&] { return real_.Ftruncate(fd, bytes); });
  }
  int AddSeals(int fd, int seals) override {
    return Call("fcntl", [&] { return real_.AddSeals(fd, seals); });
  }

  int Socket(int domain, int type, int protocol) override {
    return Opened(Call("socket", [&] { return real_.Socket(domain, type, protocol); }));
  }
  int Bind(int fd, const sockaddr* address, socklen_t size) override {
    return Call("bind", [&] { return real_.Bind(fd, address, size); });
  }
  int Listen(int fd, int backlog) override {
    return Call("listen", [&] { return real_.Listen(fd, backlog); });
  }
  int Accept(int fd, int flags) override {
    return Opened(Call("accept4", [&] { return real_.Accept(fd, flags); }));
  }
  int Connect(int fd, const sockaddr* address, socklen_t size) override {
    return Call("connect", [&] { return real_.Connect(fd, address, size); });
  }
  int Getsockopt(int fd, int level, int name, void* value, socklen_t* size) override {
    return Call("getsockopt", [&] { return real_.Getsockopt(fd, level, name, value, size); });
  }
  ssize_t Sendmsg(int fd, const msghdr* message, int flags) override {
    return Call("sendmsg", [&] { return real_.Sendmsg(fd, message, flags); });
  }
  ssize_t Recv(int fd, void* to, size_t bytes, int flags) override {
    return Call("recv", [&] { return real_.Recv(fd, to, bytes, flags); });
  }

  int Poll(pollfd* fds, nfds_t n, int timeout_ms) override {
    return Call("poll", [&] { return real_.Poll(fds, n, timeout_ms); });
  }
  int Eventfd(unsigned initial, int flags) override {
    return Opened(Call("eventfd", [&] { return real_.Eventfd(initial, flags); }));
  }
  int EventfdRead(int fd, uint64_t* value) override {
    return Call("eventfd_read", [&] { return real_.EventfdRead(fd, value); });
  }
  int EventfdWrite(int fd, uint64_t value) override {
    return Call("eventfd_write", [&] { return real_.EventfdWrite(fd, value); });
  }
  int InotifyInit(int flags) override {
    return Opened(Call("inotify_init1", [&] { return real_.InotifyInit(flags); }));
  }
  int InotifyAddWatch(int fd, const char* path, uint32_t events) override {
    return Call("inotify_add_watch", [&] { return real_.InotifyAddWatch(fd, path, events); });
  }

  ssize_t Getrandom(void* to, size_t bytes) override {
    return Call("getrandom", [&] { return real_.Getrandom(to, bytes); });
  }

 private:
  struct Fault {
    std::string name;
    int first;
    int times;
    int error;
  };

  // Counts the call. True, with errno set, where it is to fail.
  bool Fails(const char* name) {
    int error = 0;
    {
      absl::MutexLock lock(&mutex_);
      const int number = calls_[name]++;
      for (const Fault& fault : faults_) {
        if (fault.name == name && number >= fault.first && number - fault.first < fault.times) {
          error = fault.error;
          ++failed_;
        }
      }
    }
    if (error != 0) errno = error;
    return error != 0;
  }

  template <typename Real>
  auto Call(const char* name, Real real) -> decltype(real()) {
    return Fails(name) ? -1 : real();
  }

  int Opened(int fd) {
    if (fd < 0) return fd;
    absl::MutexLock lock(&mutex_);
    descriptors_.insert(fd);
    return fd;
  }

  size_t MostRead() const {
    absl::MutexLock lock(&mutex_);
    return most_read_;
  }

  os::System& real_ = os::RealSystem();
  mutable absl::Mutex mutex_;
  std::map<std::string, int> calls_ ABSL_GUARDED_BY(mutex_);
  std::vector<Fault> faults_ ABSL_GUARDED_BY(mutex_);
  int failed_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t most_read_ ABSL_GUARDED_BY(mutex_) = ~size_t{0};
  std::set<int> descriptors_ ABSL_GUARDED_BY(mutex_);
  std::set<void*> mappings_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace hookwire::testing

#endif  // HOOKWIRE_TESTS_UNIT_SUPPORT_FAULTY_SYSTEM_H_
