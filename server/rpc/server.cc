#include "server/rpc/server.h"

#include <grpc/grpc.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "hookwire/v1/service.grpc.pb.h"
#include "server/errors/status_macros.h"
#include "server/rpc/request_reads.h"

namespace hookwire::server {
namespace {

// For calls of the health and reflection services beside a client's other calls.
constexpr size_t kFreeCalls = 64;

}  // namespace

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(const Backend& backend,
                                                            const ListenAddress& address) {
  // Never released: gRPC's shutdown of its library may wait for one of its threads for many
  // seconds.
  static const bool kHeld = (grpc_init(), true);
  (void)kHeld;
  // Both are global settings, which apply to servers built later.
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();

  std::unique_ptr<RpcServer> rpc(new RpcServer(backend));
  grpc::ServerBuilder builder;
  int port = 0;
  if (!address.socket.has_value()) {
    builder.AddListeningPort(address.ToString(), grpc::InsecureServerCredentials(), &port);
  }
  builder.SetMaxReceiveMessageSize(kMaxRequestBytes);
  // Otherwise the window, and so what a client may send of messages that nobody reads yet, would
  // grow to what the network carries.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, static_cast<int>(kUnreadBytes));
  // Calls of the health and reflection services, which are admitted by nobody else, are at most so
  // many on a connection. Other calls are refused before they are as many.
  builder.AddChannelArgument(
      GRPC_ARG_MAX_CONCURRENT_STREAMS,
      static_cast<int>(std::min<size_t>(backend.call_limit.max_calls(), 1u << 20) + kFreeCalls));
  // Otherwise two servers could share a port, each with some of the clients.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Synchronous threads only serve reflection.
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 1);
  rpc->service_.RegisterWith(builder);
  rpc->server_ = builder.BuildAndStart();
  if (rpc->server_ == nullptr || (port == 0 && !address.socket.has_value())) {
    return absl::FailedPreconditionError(absl::StrCat("cannot listen at ", address.ToString()));
  }
  rpc->address_ = address;
  rpc->address_.port = static_cast<uint16_t>(port);
  backend.peers.ListenAt({address.host, rpc->address_.port});
  rpc->SetServing(true);
  if (address.socket.has_value()) {
    // We accept the connections, because gRPC would give all clients of a Unix socket the same peer
    // name (a connection that it is given is named by its descriptor), and would replace the socket
    // of another server that listens there.
    HOOKWIRE_ASSIGN_OR_RETURN(
        rpc->unix_server_,
        UnixServer::Start(*address.socket, SOCK_STREAM,
                          [&backend, server = rpc->server_.get()](Descriptor connection) {
                            const auto peer = PeerProcess(connection.get());
                            if (peer.has_value()) {
                              backend.peers.Accepted(connection.get(), peer->process, peer->user);
                            }
                            grpc::AddInsecureChannelFromFd(server, connection.Release());
                          }));
  }
  return rpc;
}

RpcServer::~RpcServer() { Shutdown(absl::ZeroDuration()); }

void RpcServer::SetServing(bool serving) {
  grpc::HealthCheckServiceInterface* const health = server_->GetHealthCheckService();
  health->SetServingStatus(serving);
  health->SetServingStatus(v1::ActivationService::service_full_name(), serving);
}

void RpcServer::Shutdown(absl::Duration grace) {
  if (server_ == nullptr) return;
  unix_server_ = nullptr;
  server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
  server_->Wait();
  calls_.WaitUntilNoneIsOpen();
  server_ = nullptr;
}

}  // namespace hookwire::server
