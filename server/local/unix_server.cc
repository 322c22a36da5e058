#include "server/local/unix_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>

#include "server/errors/status_macros.h"

namespace hookwire::server {
namespace {

// How long to wait before accepting again when the process has no descriptors left.
constexpr int kPauseMilliseconds = 100;

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
  system_.EventfdWrite(stop_.get(), 1);
  thread_.join();
}

void UnixServer::Run() {
  pollfd ready[] = {{stop_.get(), POLLIN, 0}, {socket_.fd(), POLLIN, 0}};
  while (true) {
    if (system_.Poll(ready, 2, -1) < 0) continue;
    if (ready[0].revents != 0) return;
    Descriptor connection(system_.Accept(socket_.fd(), SOCK_CLOEXEC | SOCK_NONBLOCK), system_);
    if (connection.valid()) {
      on_connection_(std::move(connection));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      system_.Poll(ready, 1, kPauseMilliseconds);
    }
  }
}

}  // namespace hookwire::server
