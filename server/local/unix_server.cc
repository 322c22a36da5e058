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
                                                              OnConnection on_connection) {
  HOOKWIRE_ASSIGN_OR_RETURN(UnixSocket socket, UnixSocket::Listen(address, type));
  Descriptor stop(eventfd(0, EFD_CLOEXEC));
  if (!stop.valid()) return absl::ErrnoToStatus(errno, "cannot wait for connections");
  return std::unique_ptr<UnixServer>(
      new UnixServer(std::move(socket), std::move(stop), std::move(on_connection)));
}

UnixServer::~UnixServer() {
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

void UnixServer::Run() {
  pollfd ready[] = {{stop_.get(), POLLIN, 0}, {socket_.fd(), POLLIN, 0}};
  while (true) {
    if (poll(ready, 2, -1) < 0) continue;
    if (ready[0].revents != 0) return;
    Descriptor connection(accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (connection.valid()) {
      on_connection_(std::move(connection));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      poll(ready, 1, kPauseMilliseconds);
    }
  }
}

}  // namespace hookwire::server
