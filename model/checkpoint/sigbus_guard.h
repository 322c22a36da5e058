// Keeps the process alive if pages of a mapped file can no longer be read.
//
// Reading a page after the end of its file (which was truncated after it was mapped), or a page
// that the disk fails to read, raises SIGBUS, which ends the process. A SigbusGuard handles that
// signal for one mapping: the whole mapping then reads as zeros until it is unmapped, and lost() is
// true. Results that were computed from it are wrong, so ask lost() after computing.
#ifndef HOOKWIRE_MODEL_CHECKPOINT_SIGBUS_GUARD_H_
#define HOOKWIRE_MODEL_CHECKPOINT_SIGBUS_GUARD_H_

#include <cstddef>

namespace hookwire::model {

struct GuardedPages;

class SigbusGuard {
 public:
  // Guards pages that are mapped read-only and privately, from the first byte of a page on. The
  // first guard installs the process's handler of SIGBUS, which leaves faults at other addresses to
  // the handler that was there before.
  SigbusGuard(const void* begin, size_t bytes);
  // REQUIRES: no thread reads the pages any more.
  ~SigbusGuard();
  SigbusGuard(const SigbusGuard&) = delete;
  SigbusGuard& operator=(const SigbusGuard&) = delete;

  // Whether the mapping reads as zeros. Any thread. A thread that has read such zeros gets true.
  bool lost() const;

 private:
  // In the handler's list; never freed.
  GuardedPages* const pages_;
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_CHECKPOINT_SIGBUS_GUARD_H_
