// Tells ThreadSanitizer in which order gRPC calls a reactor: on different threads, each call after
// the one before has returned. ThreadSanitizer cannot see that, since gRPC's libraries are not
// compiled for it. Without the sanitizer these functions do nothing.
#ifndef HOOKWIRE_SERVER_RPC_HANDOVER_H_
#define HOOKWIRE_SERVER_RPC_HANDOVER_H_

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace hookwire::server {

// Everything that this thread has done before HandOver(reactor) happens before what another thread
// does after TakeOver(reactor).
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
