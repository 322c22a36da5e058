// Finds the principal of a connection.
#ifndef HOOKWIRE_SERVER_ACCESS_PEERS_H_
#define HOOKWIRE_SERVER_ACCESS_PEERS_H_

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/access/principal.h"
#include "server/access/socket_owner.h"
#include "server/observe/clock.h"

namespace hookwire::server {

// The endpoint in gRPC's name of a peer: "ipv4:127.0.0.1:40312",
// "ipv6:%5B::1%5D:40312". An IPv4 address that is written as IPv6 ("::ffff:10.0.0.3") becomes IPv4.
// Nothing if it is not such a name.
std::optional<Endpoint> ParsePeer(std::string_view peer);

// 127.0.0.0/8 or ::1.
bool IsLoopback(std::string_view address);

// Thread-safe.
class Peers {
 public:
  // The calls to the operating system (socket_owner.h), which a test may replace.
  struct System {
    std::function<std::optional<SocketIdentity>(const Endpoint& from, const Endpoint& to)> socket;
    std::function<std::optional<pid_t>(const SocketIdentity&, const std::vector<pid_t>& first)>
        process;
  };

  // `clock` must outlive the peers.
  explicit Peers(const Clock& clock) : Peers(clock, {FindSocket, FindProcess}) {}
  Peers(const Clock& clock, System system) : clock_(clock), system_(std::move(system)) {}
  virtual ~Peers() = default;

  // Where the server listens, with its port: clients on this machine are looked up by it. Called
  // before the first call comes.
  void ListenAt(const Endpoint& server);

  // Says who is at the other end of descriptor `fd`, a Unix socket that is about to be given to
  // gRPC, which will name its peer "fd:<fd>". Process 0 means that it is in a namespace that this
  // process cannot see.
  void Accepted(int fd, pid_t process, uid_t user);

  // The client of a call. `peer` is gRPC's name of its connection (ServerContext::peer).
  virtual Principal Of(const std::string& peer);

 private:
  struct Known {
    // Absent if the kernel did not say.
    std::optional<SocketIdentity> socket;
    std::string key;
    // Until then the connection is taken to be the same one without asking again.
    absl::Time until;
  };

  std::string KeyOfLocal(const std::string& peer, const Endpoint& from);
  std::string KeyOfSocket(const SocketIdentity& socket, const Endpoint& from);

  const Clock& clock_;
  const System system_;
  mutable absl::Mutex mutex_;
  Endpoint server_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<int, std::string> by_fd_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, Known> by_peer_ ABSL_GUARDED_BY(mutex_);
  // Processes that were found recently, the last one first.
  std::vector<pid_t> recent_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_ACCESS_PEERS_H_
