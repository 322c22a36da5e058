// The address to listen at, "host:port" or "unix:path". It is checked before the model is loaded.
#ifndef HOOKWIRE_SERVER_RPC_LISTEN_ADDRESS_H_
#define HOOKWIRE_SERVER_RPC_LISTEN_ADDRESS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/local/unix_socket.h"

namespace hookwire::server {

struct ListenAddress {
  // Without brackets.
  std::string host;
  // 0 lets the system pick one.
  uint16_t port = 0;
  // A Unix socket, in place of host and port.
  std::optional<UnixAddress> socket = std::nullopt;

  // "127.0.0.1:7431", "[::1]:7431", "unix:/run/hookwired.sock", "unix-abstract:hookwired".
  std::string ToString() const;
};

// InvalidArgument if the text is not an address of one of these forms.
absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text);

// Whether a server could listen there now: AlreadyExists if the address is in use,
// FailedPrecondition if it is not an address of this machine or may not be used; each with the
// cause.
absl::Status CheckCanListen(const ListenAddress& address);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_LISTEN_ADDRESS_H_
