// Connections to Unix sockets.
#ifndef HOOKWIRE_TESTS_UNIT_LOCAL_CONNECT_H_
#define HOOKWIRE_TESTS_UNIT_LOCAL_CONNECT_H_

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

#include "os/descriptor.h"
#include "server/local/unix_socket.h"

namespace hookwire::server {

// A connection of this type that blocks; not valid where nobody listens.
inline os::Descriptor ConnectTo(const UnixAddress& address, int type) {
  os::Descriptor connection(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  sockaddr_un where = {};
  where.sun_family = AF_UNIX;
  std::memcpy(where.sun_path + (address.is_abstract ? 1 : 0), address.name.data(),
              address.name.size());
  const auto size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + address.name.size());
  if (connect(connection.get(), reinterpret_cast<sockaddr*>(&where), size) != 0) return {};
  return connection;
}

}  // namespace hookwire::server

#endif  // HOOKWIRE_TESTS_UNIT_LOCAL_CONNECT_H_
