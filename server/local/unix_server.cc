#include "server/local/unix_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>

#include "absl/time/time.h"
#include "server/errors/status_macros.h"

namespace hookwire::server {
namespace {

// How long to wait before trying again what the system refuses, as when the process has no
// descriptors left.
constexpr absl::Duration kPause = absl::Milliseconds(100);

// Errors of accept4 that concern one connection, or none: the next one may be accepted at once.
bool IsOfOneConnection(int error) {
  return error == EINTR || error == EAGAIN || error == ECONNABORTED || error == EPROTO;
}

}  // namespace

absl::StatusOr<std::unique_ptr<UnixServer>> UnixServer::Start(const UnixAddress& address, int type,
                                                              OnConnection on_connection,
                                                              os::System& system) {
  HOOKWIRE_ASSIGN_OR_RETURN(UnixSocket socket, UnixSocket::Listen(address, type, system));
  Descriptor stop(system.Eventfd(0, EFD_CLOEXEC), system);
  if (!stop.valid()) return absl::ErrnoToStatus(errno, "cannot wait for connections");
  return std::unique_ptr<UnixServer>(
      new UnixServer(system, std::move(socket), std::move(stop), std::move(on_connection)));
}

UnixServer::~UnixServer() {
  stopping_.Notify();
  system_.EventfdWrite(stop_.get(), 1);
  thread_.join();
}

void UnixServer::Run() {
  pollfd ready[] = {{stop_.get(), POLLIN, 0}, {socket_.fd(), POLLIN, 0}};
  while (!stopping_.HasBeenNotified()) {
    if (system_.Poll(ready, 2, -1) < 0) {
      if (errno != EINTR) Pause();
      continue;
    }
    if (ready[1].revents == 0) continue;
    Descriptor connection(system_.Accept(socket_.fd(), SOCK_CLOEXEC | SOCK_NONBLOCK), system_);
    if (connection.valid()) {
      on_connection_(std::move(connection));
    } else if (!IsOfOneConnection(errno)) {
      Pause();
    }
  }
}

// Not by Poll, which may be what fails.
void UnixServer::Pause() { stopping_.WaitForNotificationWithTimeout(kPause); }

}  // namespace hookwire::server
