// hookwire.v1.ActivationService over gRPC's callback API.
#ifndef HOOKWIRE_SERVER_RPC_SERVICE_H_
#define HOOKWIRE_SERVER_RPC_SERVICE_H_

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_context.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "server/rpc/backend.h"
#include "server/rpc/caller.h"
#include "server/rpc/served_call.h"

namespace hookwire::server {

// All methods take and give raw bytes (codec.h), and all are streams to gRPC (served_call.h), which
// is what its generic service offers.
//
// Thread-safe.
class ActivationServiceImpl final : public grpc::CallbackGenericService {
 public:
  // `backend` must outlive the service.
  explicit ActivationServiceImpl(const Backend& backend);
  ~ActivationServiceImpl() override;

  // The builder's server, which must end before the service, then serves all methods.
  void RegisterWith(grpc::ServerBuilder& builder);

  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override;

 private:
  class Listed;
  // Makes the call of a client that has been admitted.
  using Open =
      std::function<std::shared_ptr<ServedCall>(grpc::CallbackServerContext& context, Caller)>;

  // The reactor of a call of the method, for example "/hookwire.v1.ActivationService/Run".
  grpc::ServerGenericBidiReactor* Start(const std::string& method,
                                        grpc::CallbackServerContext& context);
  std::string NextRunId();

  const Backend& backend_;
  // Random, so that run ids of different starts of the server differ.
  const uint32_t run_id_prefix_;
  std::atomic<uint64_t> runs_ = 0;
  absl::flat_hash_map<std::string, Open> methods_;
  const std::unique_ptr<Listed> listed_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_SERVICE_H_
