#include "model/checkpoint/write_watch.h"

#include <poll.h>
#include <sys/inotify.h>

#include <cerrno>

#include "absl/strings/str_cat.h"

namespace hookwire::model {

WriteWatch::WriteWatch(os::System& system)
    : system_(system), inotify_(system.InotifyInit(IN_NONBLOCK | IN_CLOEXEC), system) {
  if (!inotify_.valid()) status_ = absl::ErrnoToStatus(errno, "cannot watch files for writes");
}

void WriteWatch::Add(int fd) {
  if (!inotify_.valid()) return;
  // At most one event for each file, so that the queue stays short.
  if (system_.InotifyAddWatch(inotify_.get(), absl::StrCat("/proc/self/fd/", fd).c_str(),
                              IN_MODIFY | IN_ONESHOT) < 0 &&
      status_.ok()) {
    status_ = absl::ErrnoToStatus(errno, "cannot watch a file for writes");
  }
}

absl::StatusOr<bool> WriteWatch::written() const {
  if (!inotify_.valid()) return false;
  // The events are not read: once there is one, the answer stays true.
  pollfd events = {.fd = inotify_.get(), .events = POLLIN, .revents = 0};
  const int n = os::Uninterrupted([&] { return system_.Poll(&events, 1, 0); });
  if (n < 0) return absl::ErrnoToStatus(errno, "cannot tell whether it was written to");
  return n == 1;
}

}  // namespace hookwire::model
