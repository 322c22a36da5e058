// hookwire.v1.ActivationService over gRPC's callback API.
#ifndef HOOKWIRE_SERVER_RPC_SERVICE_H_
#define HOOKWIRE_SERVER_RPC_SERVICE_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "hookwire/v1/service.grpc.pb.h"
#include "server/rpc/backend.h"

namespace hookwire::server {

// All methods take and give raw bytes; see codec.h.
using RawActivationService = v1::ActivationService::WithRawCallbackMethod_GetModel<
    v1::ActivationService::WithRawCallbackMethod_ListHooks<
        v1::ActivationService::WithRawCallbackMethod_GetTokenizer<
            v1::ActivationService::WithRawCallbackMethod_GetWeight<
                v1::ActivationService::WithRawCallbackMethod_Plan<
                    v1::ActivationService::WithRawCallbackMethod_Interact<
                        v1::ActivationService::WithRawCallbackMethod_Run<
                            v1::ActivationService::Service>>>>>>>;

// Thread-safe.
class ActivationServiceImpl final : public RawActivationService {
 public:
  // `backend` must outlive the service.
  explicit ActivationServiceImpl(const Backend& backend);

  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListHooks(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* GetTokenizer(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* GetWeight(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* Plan(grpc::CallbackServerContext* context,
                                 const grpc::ByteBuffer* request,
                                 grpc::ByteBuffer* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Run(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Interact(
      grpc::CallbackServerContext* context) override;

 private:
  std::string NextRunId();

  const Backend& backend_;
  // Random, so that run ids of different starts of the server differ.
  const uint32_t run_id_prefix_;
  std::atomic<uint64_t> runs_ = 0;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_SERVICE_H_
