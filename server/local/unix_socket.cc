#include "server/local/unix_socket.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "server/errors/status_macros.h"

namespace hookwire::server {
namespace {

class SocketAddress {
 public:
  explicit SocketAddress(const UnixAddress& address) {
    storage_.sun_family = AF_UNIX;
    char* out = storage_.sun_path;
    if (address.is_abstract) *out++ = '\0';
    std::memcpy(out, address.name.data(), address.name.size());
    // A path ends with a NUL; an abstract name begins with one.
    size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + address.name.size());
  }

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const { return size_; }

 private:
  sockaddr_un storage_ = {};
  socklen_t size_;
};

absl::Status CannotListen(const UnixAddress& address, const char* cause) {
  return absl::FailedPreconditionError(
      absl::StrCat("cannot listen at ", address.ToString(), ": ", cause));
}

absl::Status InUse(const UnixAddress& address) {
  return absl::AlreadyExistsError(
      absl::StrCat("cannot listen at ", address.ToString(), ": the address is in use"));
}

// Removes a socket file if no process listens on it.
absl::Status RemoveStale(const UnixAddress& address, int type, os::System& system) {
  struct stat file = {};
  if (system.Lstat(address.name.c_str(), &file) != 0) {
    return errno == ENOENT ? absl::OkStatus() : CannotListen(address, std::strerror(errno));
  }
  if (!S_ISSOCK(file.st_mode)) {
    return CannotListen(address, "there is a file of that name, and it is no socket");
  }
  const Descriptor probe(system.Socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), system);
  if (!probe.valid()) return CannotListen(address, std::strerror(errno));
  const SocketAddress where(address);
  if (os::Uninterrupted([&] { return system.Connect(probe.get(), where.get(), where.size()); }) ==
      0) {
    return InUse(address);
  }
  // EAGAIN: the listener's backlog is full. EPROTOTYPE: a listener of another socket type.
  if (errno == EAGAIN || errno == EPROTOTYPE) return InUse(address);
  if (errno != ECONNREFUSED) return CannotListen(address, std::strerror(errno));
  if (system.Unlink(address.name.c_str()) != 0) return CannotListen(address, std::strerror(errno));
  return absl::OkStatus();
}

}  // namespace

std::string UnixAddress::ToString() const {
  return absl::StrCat(is_abstract ? "unix-abstract:" : "unix:", name);
}

absl::StatusOr<UnixSocket> UnixSocket::Listen(const UnixAddress& address, int type,
                                              os::System& system) {
  if (address.name.empty() || address.name.size() > kMaxUnixName) {
    return CannotListen(address, "a name has 1 to 107 bytes");
  }
  UnixSocket out(
      system, Descriptor(system.Socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), system));
  if (!out.fd_.valid()) return CannotListen(address, std::strerror(errno));
  Descriptor directory;
  if (!address.is_abstract) {
    const std::string parent = std::filesystem::path(address.name).parent_path();
    const char* const path = parent.empty() ? "." : parent.c_str();
    directory = Descriptor(
        os::Uninterrupted([&] { return system.Open(path, O_DIRECTORY | O_CLOEXEC); }), system);
    // Another server that starts at the same time must not find a socket file on which no process
    // listens yet, since it would remove it.
    if (!directory.valid() ||
        os::Uninterrupted([&] { return system.Flock(directory.get(), LOCK_EX); }) != 0) {
      return CannotListen(address, std::strerror(errno));
    }
    HOOKWIRE_RETURN_IF_ERROR(RemoveStale(address, type, system));
  }
  const SocketAddress where(address);
  const auto failed = [&address] {
    return errno == EADDRINUSE ? InUse(address) : CannotListen(address, std::strerror(errno));
  };
  if (system.Bind(out.fd(), where.get(), where.size()) != 0) return failed();
  if (!address.is_abstract) {
    struct stat file = {};
    if (system.Lstat(address.name.c_str(), &file) != 0) {
      // The file is ours, since the directory is locked.
      absl::Status status = failed();
      system.Unlink(address.name.c_str());
      return status;
    }
    // From here on `out` removes the file.
    std::error_code error;
    out.path_ = std::filesystem::absolute(address.name, error);
    if (error) out.path_ = address.name;
    out.inode_ = file.st_ino;
  }
  if (system.Listen(out.fd(), SOMAXCONN) != 0) return failed();
  return out;
}

UnixSocket::~UnixSocket() {
  struct stat file = {};
  if (!fd_.valid() || path_.empty() || system_->Lstat(path_.c_str(), &file) != 0) return;
  if (file.st_ino == inode_) system_->Unlink(path_.c_str());
}

std::optional<UnixPeer> PeerProcess(int connection, os::System& system) {
  ucred peer = {};
  socklen_t size = sizeof(peer);
  if (system.Getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return std::nullopt;
  }
  return UnixPeer{peer.pid, peer.uid};
}

std::optional<uid_t> PeerUser(int connection, os::System& system) {
  const std::optional<UnixPeer> peer = PeerProcess(connection, system);
  return peer ? std::optional(peer->user) : std::nullopt;
}

}  // namespace hookwire::server
