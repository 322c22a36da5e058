// Unix sockets: their addresses, listening, and the user of a connection's peer.
#ifndef HOOKWIRE_SERVER_LOCAL_UNIX_SOCKET_H_
#define HOOKWIRE_SERVER_LOCAL_UNIX_SOCKET_H_

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "os/descriptor.h"
#include "os/system.h"

namespace hookwire::server {

using os::Descriptor;

// The most bytes of a path or an abstract name.
inline constexpr size_t kMaxUnixName = 107;

struct UnixAddress {
  // A path, or a name in Linux's abstract namespace, which has no file.
  std::string name;
  bool is_abstract = false;

  // As gRPC writes it: "unix:/run/hookwired.sock", "unix-abstract:hookwired".
  std::string ToString() const;
};

// A listening socket. The destructor removes its file.
class UnixSocket {
 public:
  // `type` is SOCK_STREAM or SOCK_SEQPACKET. Replaces a socket file if no process listens on it.
  // AlreadyExists if a process does, FailedPrecondition if the address cannot be used; the message
  // has the address and the cause. `system` must outlive the socket.
  static absl::StatusOr<UnixSocket> Listen(const UnixAddress& address, int type,
                                           os::System& system = os::RealSystem());
  ~UnixSocket();
  UnixSocket(UnixSocket&&) = default;

  int fd() const { return fd_.get(); }

 private:
  UnixSocket(os::System& system, Descriptor fd) : system_(&system), fd_(std::move(fd)) {}

  os::System* system_;
  Descriptor fd_;
  // The socket's file, empty if it has none. The destructor removes it only if it still has this
  // inode: another process may have replaced it.
  std::string path_;
  ino_t inode_ = 0;
};

// The process and user at the other end of a connection. The process is 0 if it belongs to a PID
// namespace that this process cannot see.
struct UnixPeer {
  pid_t process = 0;
  uid_t user = 0;
};

// The process at the other end of a connection; nullopt if the system does not know.
std::optional<UnixPeer> PeerProcess(int connection, os::System& system = os::RealSystem());

// The user of the process at the other end of a connection; nullopt if the system does not know.
std::optional<uid_t> PeerUser(int connection, os::System& system = os::RealSystem());

// Whether `user` may read the memory of a process of the user `own`: the same user or root.
inline bool MayHave(uid_t user, uid_t own) { return user == own || user == 0; }

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_LOCAL_UNIX_SOCKET_H_
