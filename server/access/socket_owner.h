// Which process has the other end of a TCP connection that comes from this machine, as Linux tells
// it. All of this room's contact with the operating system is here.
#ifndef HOOKWIRE_SERVER_ACCESS_SOCKET_OWNER_H_
#define HOOKWIRE_SERVER_ACCESS_SOCKET_OWNER_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hookwire::server {

// One end of a connection.
struct Endpoint {
  // Without brackets: "127.0.0.1", "::1".
  std::string address;
  uint16_t port = 0;
};

struct SocketIdentity {
  uid_t user = 0;
  // Of the socket; no two sockets that are open have the same.
  uint64_t inode = 0;
};

// The socket from `from` to `to`, both of one family, in this process's network namespace
// (sock_diag, man 7 sock_diag). Nothing where there is none, or the kernel does not say.
std::optional<SocketIdentity> FindSocket(const Endpoint& from, const Endpoint& to);

// The process that has the socket open. Those in `first` are looked at before all others. Nothing
// where none of the processes that this one may look into has it.
std::optional<pid_t> FindProcess(const SocketIdentity& socket, const std::vector<pid_t>& first);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_ACCESS_SOCKET_OWNER_H_
