// Keeps the process alive where the pages of a mapped file are gone.
//
// Reading a page that lies behind the end of its file (it has shrunk since it was mapped), or that
// the disk cannot give, is SIGBUS, which ends the process. A SigbusGuard takes that signal for one
// mapping: all of it turns into zeros, for good, and lost() says so. What was computed meanwhile is
// wrong, and whoever computed it has to ask.
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
  // REQUIRES: nobody reads the pages any more.
  ~SigbusGuard();
  SigbusGuard(const SigbusGuard&) = delete;
  SigbusGuard& operator=(const SigbusGuard&) = delete;

  // Any thread. True for whoever has read zeros in place of the file.
  bool lost() const;

 private:
  // The handler's; never freed.
  GuardedPages* const pages_;
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_CHECKPOINT_SIGBUS_GUARD_H_
