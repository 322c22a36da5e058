// Asks Linux which process has the other end of a TCP connection from this machine. All calls of
// this room to the operating system are here.
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
  // The socket's inode number; no two open sockets have the same.
  uint64_t inode = 0;
};

// The socket from `from` to `to`, both of one family, in this process's network namespace
// (sock_diag, man 7 sock_diag). Nothing where there is none, or the kernel does not say.
std::optional<SocketIdentity> FindSocket(const Endpoint& from, const Endpoint& to);

// A process that has the socket open; those in `first` are tried before all others. Nothing if no
// process that this one may inspect has it.
std::optional<pid_t> FindProcess(const SocketIdentity& socket, const std::vector<pid_t>& first);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_ACCESS_SOCKET_OWNER_H_
