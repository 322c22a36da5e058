#include "model/checkpoint/write_watch.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace hookwire::model {

WriteWatch::WriteWatch() : inotify_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {}

WriteWatch::~WriteWatch() {
  if (inotify_ >= 0) close(inotify_);
}

void WriteWatch::Add(int fd) {
  if (inotify_ < 0) return;
  // At most one event for each file, so that the queue stays short.
  inotify_add_watch(inotify_, absl::StrCat("/proc/self/fd/", fd).c_str(), IN_MODIFY | IN_ONESHOT);
}

bool WriteWatch::written() const {
  if (inotify_ < 0) return false;
  // The events are not read: once there is one, the answer stays true.
  pollfd events = {.fd = inotify_, .events = POLLIN, .revents = 0};
  return poll(&events, 1, 0) == 1;
}

}  // namespace hookwire::model
