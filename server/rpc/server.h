// The gRPC server: the service, health, reflection, limits.
#ifndef HOOKWIRE_SERVER_RPC_SERVER_H_
#define HOOKWIRE_SERVER_RPC_SERVER_H_

#include <grpcpp/server.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/local/unix_server.h"
#include "server/rpc/backend.h"
#include "server/rpc/listen_address.h"
#include "server/rpc/service.h"

namespace hookwire::server {

// Thread-safe.
class RpcServer {
 public:
  // Serves when it returns. `backend` must outlive the server. FailedPrecondition if it cannot
  // listen.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Start(const Backend& backend,
                                                          const ListenAddress& address);
  ~RpcServer();

  // With the port that the system picked.
  const ListenAddress& address() const { return address_; }

  // Sets what the health service answers.
  void SetServing(bool serving);

  // Takes no more calls, and waits until all have ended and are gone; those that have not by then
  // are cancelled after `grace`.
  void Shutdown(absl::Duration grace);

 private:
  explicit RpcServer(const Backend& backend) : calls_(backend.call_limit), service_(backend) {}

  CallLimit& calls_;
  ActivationServiceImpl service_;
  ListenAddress address_;
  std::unique_ptr<grpc::Server> server_;
  // Accepts connections if the address is a Unix socket. Ends before the server.
  std::unique_ptr<UnixServer> unix_server_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_SERVER_H_
