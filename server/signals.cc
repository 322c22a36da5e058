#include "server/signals.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "absl/time/clock.h"

namespace hookwire::server {

absl::StatusOr<Signals> Signals::Create() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  if (const int error = pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0) {
    return absl::ErrnoToStatus(error, "cannot block signals");
  }
  const int signals = signalfd(-1, &set, SFD_CLOEXEC);
  if (signals < 0) return absl::ErrnoToStatus(errno, "cannot wait for signals");
  const int wake = eventfd(0, EFD_CLOEXEC);
  if (wake < 0) {
    close(signals);
    return absl::ErrnoToStatus(errno, "cannot wait for signals");
  }
  return Signals(signals, wake);
}

Signals::Signals(Signals&& other) noexcept
    : signals_(std::exchange(other.signals_, -1)), wake_(std::exchange(other.wake_, -1)) {}

Signals::~Signals() {
  if (signals_ >= 0) close(signals_);
  if (wake_ >= 0) close(wake_);
}

std::optional<int> Signals::WaitFor(absl::Duration timeout) const {
  const absl::Time deadline = absl::Now() + timeout;
  while (true) {
    pollfd ready[] = {{signals_, POLLIN, 0}, {wake_, POLLIN, 0}};
    // One call waits for an hour at most.
    const absl::Duration left =
        std::clamp(deadline - absl::Now(), absl::ZeroDuration(), absl::Hours(1));
    const int n =
        poll(ready, 2,
             static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1)))));
    if (n < 0) continue;
    if (n == 0) {
      if (absl::Now() >= deadline) return std::nullopt;
      continue;
    }
    signalfd_siginfo info = {};
    if ((ready[0].revents & POLLIN) != 0 && read(signals_, &info, sizeof(info)) == sizeof(info)) {
      return static_cast<int>(info.ssi_signo);
    }
    eventfd_t count = 0;
    if ((ready[1].revents & POLLIN) != 0 && eventfd_read(wake_, &count) == 0) return 0;
  }
}

void Signals::Wake() const { eventfd_write(wake_, 1); }

}  // namespace hookwire::server
