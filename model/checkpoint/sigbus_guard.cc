#include "model/checkpoint/sigbus_guard.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>

namespace hookwire::model {

// A guarded mapping, as an entry of the handler's list.
struct GuardedPages {
  void* begin;
  // 0 after the guard has been destroyed.
  std::atomic<size_t> bytes;
  std::atomic<bool> lost = false;
  GuardedPages* next = nullptr;
};

namespace {

static_assert(std::atomic<size_t>::is_always_lock_free && std::atomic<bool>::is_always_lock_free &&
                  std::atomic<GuardedPages*>::is_always_lock_free,
              "a handler of signals may not wait for a lock");

// Global, since a signal handler has no other arguments. Entries are never removed, since a handler
// may be walking the list.
std::atomic<GuardedPages*> all_pages = nullptr;
// The handler that was installed before ours; set before ours can run.
struct sigaction earlier = {};

void PassOn(int signal, siginfo_t* info, void* context) {
  if ((earlier.sa_flags & SA_SIGINFO) != 0) {
    earlier.sa_sigaction(signal, info, context);
    return;
  }
  // A process cannot ignore a fault of its own: SIG_IGN is treated as SIG_DFL.
  const bool is_fault = info->si_code > 0;
  if (earlier.sa_handler == SIG_IGN && !is_fault) return;
  if (earlier.sa_handler != SIG_IGN && earlier.sa_handler != SIG_DFL) {
    earlier.sa_handler(signal);
    return;
  }
  // The signal is raised again when this handler returns, and ends the process.
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

// Async-signal-safe: atomics without locks, and a system call. Calls mmap itself, not through
// os::System: a handler gets no object, and a test that made this call fail would be ended by the
// signal.
void Handle(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const auto contains = [info](const GuardedPages& pages) {
    return reinterpret_cast<uintptr_t>(info->si_addr) - reinterpret_cast<uintptr_t>(pages.begin) <
           pages.bytes;
  };
  GuardedPages* pages = info->si_code > 0 ? all_pages.load() : nullptr;
  while (pages != nullptr && !contains(*pages)) pages = pages->next;
  if (pages == nullptr) {
    PassOn(signal, info, context);
    return;
  }
  pages->lost = true;
  // Replace the whole mapping, not one page: single pages would each become an area of memory, of
  // which a process may have a limited number.
  void* const zeros =
      mmap(pages->begin, pages->bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (zeros == MAP_FAILED) PassOn(signal, info, context);
  errno = saved_errno;
}

// Calls sigaction itself, not through os::System: it fails only for arguments that are wrong, and
// the handler is the process's, while a System belongs to one checkpoint.
void InstallOnce() {
  static std::once_flag installed;
  std::call_once(installed, [] {
    sigaction(SIGBUS, nullptr, &earlier);
    struct sigaction ours = {};
    ours.sa_sigaction = Handle;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&ours.sa_mask);
    sigaction(SIGBUS, &ours, nullptr);
  });
}

}  // namespace

SigbusGuard::SigbusGuard(const void* begin, size_t bytes) : pages_(new GuardedPages) {
  InstallOnce();
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  pages_->begin = const_cast<void*>(begin);
  pages_->bytes = (bytes + page - 1) / page * page;
  pages_->next = all_pages.load();
  while (!all_pages.compare_exchange_weak(pages_->next, pages_)) {
  }
}

// After this, another mapping may get these addresses.
SigbusGuard::~SigbusGuard() { pages_->bytes = 0; }

bool SigbusGuard::lost() const { return pages_->lost; }

}  // namespace hookwire::model
