#include "server/rpc/listen_address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace hookwire::server {
namespace {

absl::Status TryToListen(const addrinfo& info, const std::string& address) {
  const int fd = socket(info.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot listen at ", address));
  const absl::Cleanup close_socket = [fd] { close(fd); };
  // As gRPC does: an earlier server's connections that are still closing (TIME_WAIT) do not matter.
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd, info.ai_addr, info.ai_addrlen) == 0 && listen(fd, 1) == 0) return absl::OkStatus();
  if (errno == EADDRINUSE) {
    return absl::AlreadyExistsError(absl::StrCat(
        "cannot listen at ", address, ": the address is in use (port 0 picks a free one)"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat("cannot listen at ", address, ": ", std::strerror(errno)));
}

// Nothing where it is none.
std::optional<UnixAddress> ParseUnixAddress(std::string_view text) {
  for (const std::string_view prefix : {"unix:", "unix-abstract:"}) {
    if (text.substr(0, prefix.size()) != prefix) continue;
    std::string_view name = text.substr(prefix.size());
    // "unix:///run/hookwired.sock" is "unix:/run/hookwired.sock".
    if (name.substr(0, 3) == "///") name.remove_prefix(2);
    return UnixAddress{std::string(name), prefix != "unix:"};
  }
  return std::nullopt;
}

}  // namespace

std::string ListenAddress::ToString() const {
  if (socket.has_value()) return socket->ToString();
  const bool is_v6 = host.find(':') != std::string::npos;
  return is_v6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text) {
  const absl::Status wrong = absl::InvalidArgumentError(absl::StrCat(
      "'", std::string(text),
      "' is no address: host:port, for example 127.0.0.1:7431 or [::1]:7431, or unix:PATH with a "
      "path of at most ",
      kMaxUnixName, " bytes"));
  if (std::optional<UnixAddress> socket = ParseUnixAddress(text)) {
    if (socket->name.empty() || socket->name.size() > kMaxUnixName) return wrong;
    return ListenAddress{"", 0, std::move(socket)};
  }
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong;
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const bool has_colon = host.find(':') != std::string_view::npos;
  uint32_t port = 0;
  const bool has_bracket = host.find_first_of("[]") != std::string_view::npos;
  if (host.empty() || has_bracket || bracketed != has_colon ||
      !absl::SimpleAtoi(std::string(text.substr(colon + 1)), &port) || port > 65535) {
    return wrong;
  }
  return ListenAddress{std::string(host), static_cast<uint16_t>(port)};
}

absl::Status CheckCanListen(const ListenAddress& address) {
  if (address.socket.has_value()) {
    return UnixSocket::Listen(*address.socket, SOCK_STREAM).status();
  }
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(address.host.c_str(), absl::StrCat(address.port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot listen at ", address.ToString(), ": ", gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(found, &freeaddrinfo);
  absl::Status status;
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    status = TryToListen(*info, address.ToString());
    // It is enough if one of the addresses of a host name can be used.
    if (status.ok() || absl::IsAlreadyExists(status)) return status;
  }
  return status;
}

}  // namespace hookwire::server
