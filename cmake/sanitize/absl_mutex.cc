// Tells ThreadSanitizer about absl's mutexes.
//
// The distribution's absl is not compiled for ThreadSanitizer, which would report everything that a
// mutex guards as a race. Each function here is found by the linker before absl's function of the
// same name, calls that one, and reports what happens before what. absl may evaluate the condition
// that one thread waits for on another, within its Unlock: reads there are not recorded.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): the sanitizer's own
// names.
extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

namespace {

// The function of the same name in the next library, absl's.
void* Next(void* function) {
  Dl_info info{};
  void* const next = dladdr(function, &info) != 0 && info.dli_sname != nullptr
                         ? dlsym(RTLD_NEXT, info.dli_sname)
                         : nullptr;
  if (next == nullptr) {
    std::fprintf(stderr, "cmake/sanitize: absl has no function of that name\n");
    std::abort();
  }
  return next;
}

template <auto member>
struct Real;
template <typename R, typename C, typename... A, R (C::*member)(A...)>
struct Real<member> {
  static R Call(C* self, A... arguments) {
    using Function = R (*)(C*, A...);
    static const Function kReal =
        reinterpret_cast<Function>(Next(reinterpret_cast<void*>(member)));  // -Wno-pmf-conversions
    return kReal(self, arguments...);
  }
};
template <typename R, typename C, typename... A, R (C::*member)(A...) const>
struct Real<member> {
  static R Call(const C* self, A... arguments) {
    using Function = R (*)(const C*, A...);
    static const Function kReal =
        reinterpret_cast<Function>(Next(reinterpret_cast<void*>(member)));  // -Wno-pmf-conversions
    return kReal(self, arguments...);
  }
};

class UnrecordedReads {
 public:
  UnrecordedReads() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~UnrecordedReads() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
};

template <auto member, typename C, typename... A>
void Lock(C* mutex, A... arguments) {
  {
    const UnrecordedReads conditions;
    Real<member>::Call(mutex, arguments...);
  }
  __tsan_acquire(mutex);
}

template <auto member, typename C>
bool TryLock(C* mutex) {
  const bool locked = Real<member>::Call(mutex);
  if (locked) __tsan_acquire(mutex);
  return locked;
}

template <auto member, typename C>
void Unlock(C* mutex) {
  __tsan_release(mutex);
  const UnrecordedReads conditions;
  Real<member>::Call(mutex);
}

// Unlocks, waits, and locks again.
template <auto member, typename R, typename C, typename... A>
R Wait(void* mutex, C* waits, A... arguments) {
  __tsan_release(mutex);
  struct Locked {
    void* mutex;
    ~Locked() { __tsan_acquire(mutex); }
  } const locked{mutex};
  const UnrecordedReads conditions;
  return Real<member>::Call(waits, arguments...);
}

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() { ::Lock<&Mutex::Lock>(this); }
void Mutex::ReaderLock() { ::Lock<&Mutex::ReaderLock>(this); }
bool Mutex::TryLock() { return ::TryLock<&Mutex::TryLock>(this); }
bool Mutex::ReaderTryLock() { return ::TryLock<&Mutex::ReaderTryLock>(this); }
void Mutex::Unlock() { ::Unlock<&Mutex::Unlock>(this); }
void Mutex::ReaderUnlock() { ::Unlock<&Mutex::ReaderUnlock>(this); }

void Mutex::LockWhen(const Condition& condition) {
  ::Lock<&Mutex::LockWhen, Mutex, const Condition&>(this, condition);
}
void Mutex::ReaderLockWhen(const Condition& condition) {
  ::Lock<&Mutex::ReaderLockWhen, Mutex, const Condition&>(this, condition);
}
bool Mutex::LockWhenWithTimeout(const Condition& condition, Duration timeout) {
  return Wait<&Mutex::LockWhenWithTimeout, bool, Mutex, const Condition&>(this, this, condition,
                                                                          timeout);
}
bool Mutex::LockWhenWithDeadline(const Condition& condition, Time deadline) {
  return Wait<&Mutex::LockWhenWithDeadline, bool, Mutex, const Condition&>(this, this, condition,
                                                                           deadline);
}
void Mutex::Await(const Condition& condition) {
  Wait<&Mutex::Await, void, Mutex, const Condition&>(this, this, condition);
}
bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  return Wait<&Mutex::AwaitWithTimeout, bool, Mutex, const Condition&>(this, this, condition,
                                                                       timeout);
}
bool Mutex::AwaitWithDeadline(const Condition& condition, Time deadline) {
  return Wait<&Mutex::AwaitWithDeadline, bool, Mutex, const Condition&>(this, this, condition,
                                                                        deadline);
}

void CondVar::Wait(Mutex* mutex) { ::Wait<&CondVar::Wait, void>(mutex, this, mutex); }
bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  return ::Wait<&CondVar::WaitWithTimeout, bool>(mutex, this, mutex, timeout);
}
bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  return ::Wait<&CondVar::WaitWithDeadline, bool>(mutex, this, mutex, deadline);
}

void Notification::Notify() {
  __tsan_release(this);
  Real<&Notification::Notify>::Call(this);
}
void Notification::WaitForNotification() const {
  Real<&Notification::WaitForNotification>::Call(this);
  __tsan_acquire(const_cast<Notification*>(this));
}
bool Notification::WaitForNotificationWithTimeout(Duration timeout) const {
  const bool notified = Real<&Notification::WaitForNotificationWithTimeout>::Call(this, timeout);
  if (notified) __tsan_acquire(const_cast<Notification*>(this));
  return notified;
}

ABSL_NAMESPACE_END
}  // namespace absl
