// gRPC calls a reactor back on one thread after another, each after the last has returned. Its
// libraries are not compiled for ThreadSanitizer, which therefore has to be told of that order.
// Without the sanitizer these do nothing.
#ifndef HOOKWIRE_SERVER_RPC_HANDOVER_H_
#define HOOKWIRE_SERVER_RPC_HANDOVER_H_

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace hookwire::server {

// What this thread has done so far happens before what another does after TakeOver(reactor).
inline void HandOver([[maybe_unused]] void* reactor) {
#if defined(__SANITIZE_THREAD__)
  __tsan_release(reactor);
#endif
}

inline void TakeOver([[maybe_unused]] void* reactor) {
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(reactor);
#endif
}

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_HANDOVER_H_
