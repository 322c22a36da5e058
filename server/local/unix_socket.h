// Unix sockets: where they lie, who is at the other end, and listening at them.
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

// The most bytes of a path or a name.
inline constexpr size_t kMaxUnixName = 107;

struct UnixAddress {
  // A path, or a name in Linux's abstract namespace, which is no file.
  std::string name;
  bool is_abstract = false;

  // As gRPC writes it: "unix:/run/hookwired.sock", "unix-abstract:hookwired".
  std::string ToString() const;
};

// A socket that listens. Its file is removed with it.
class UnixSocket {
 public:
  // `type` is SOCK_STREAM or SOCK_SEQPACKET. A socket file that nobody listens at is replaced.
  // AlreadyExists where somebody does, FailedPrecondition where there can be none: each with the
  // address and the cause. `system` must outlive the socket.
  static absl::StatusOr<UnixSocket> Listen(const UnixAddress& address, int type,
                                           os::System& system = os::RealSystem());
  ~UnixSocket();
  UnixSocket(UnixSocket&&) = default;

  int fd() const { return fd_.get(); }

 private:
  UnixSocket(os::System& system, Descriptor fd) : system_(&system), fd_(std::move(fd)) {}

  os::System* system_;
  Descriptor fd_;
  // Of the file; empty where there is none. Whoever replaces it keeps theirs.
  std::string path_;
  ino_t inode_ = 0;
};

// Who connected. Process 0 is one of a namespace that cannot be seen from here.
struct UnixPeer {
  pid_t process = 0;
  uid_t user = 0;
};

// The process at the other end of a connection; nothing where the system does not say.
std::optional<UnixPeer> PeerProcess(int connection, os::System& system = os::RealSystem());

// The user at the other end of a connection; nothing where the system does not say.
std::optional<uid_t> PeerUser(int connection, os::System& system = os::RealSystem());

// Whether that user may have what belongs to the user `own`: the same one, or root, who may read
// this process's memory anyway.
inline bool MayHave(uid_t user, uid_t own) { return user == own || user == 0; }

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_LOCAL_UNIX_SOCKET_H_
