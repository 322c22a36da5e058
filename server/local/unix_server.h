// Accepts connections on a Unix socket.
#ifndef HOOKWIRE_SERVER_LOCAL_UNIX_SERVER_H_
#define HOOKWIRE_SERVER_LOCAL_UNIX_SERVER_H_

#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "os/descriptor.h"
#include "os/system.h"
#include "server/local/unix_socket.h"

namespace hookwire::server {

// Has one thread, which accepts connections and passes them on until the object is destroyed.
class UnixServer {
 public:
  // Called with a non-blocking connection.
  using OnConnection = std::function<void(Descriptor connection)>;

  // As UnixSocket::Listen. `system` must outlive the server.
  static absl::StatusOr<std::unique_ptr<UnixServer>> Start(const UnixAddress& address, int type,
                                                           OnConnection on_connection,
                                                           os::System& system = os::RealSystem());
  ~UnixServer();

 private:
  UnixServer(os::System& system, UnixSocket socket, Descriptor stop, OnConnection on_connection)
      : system_(system),
        socket_(std::move(socket)),
        stop_(std::move(stop)),
        on_connection_(std::move(on_connection)),
        thread_([this] { Run(); }) {}

  void Run();
  // Waits a while, or until the server is destroyed.
  void Pause();

  os::System& system_;
  const UnixSocket socket_;
  absl::Notification stopping_;
  // Wakes the thread once stopping_ is set.
  const Descriptor stop_;
  const OnConnection on_connection_;
  std::thread thread_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_LOCAL_UNIX_SERVER_H_
