// The reactor of one Run call.
#ifndef HOOKWIRE_SERVER_RPC_RUN_CALL_H_
#define HOOKWIRE_SERVER_RPC_RUN_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <string>

#include "absl/status/status.h"
#include "hookwire/v1/service.pb.h"
#include "server/rpc/backend.h"
#include "server/rpc/caller.h"
#include "server/rpc/run_reactor.h"

namespace hookwire::server {

class RunCall final : public RunReactor<grpc::ServerWriteReactor<grpc::ByteBuffer>> {
 public:
  // `backend` must outlive the call.
  static RunCall* Start(const Backend& backend, std::string id,
                        grpc::CallbackServerContext& context, Caller caller,
                        const grpc::ByteBuffer& request);

 private:
  using RunReactor::RunReactor;

  absl::Status Receive(const grpc::ByteBuffer& request);
  absl::Status Begin(const v1::RunSpec& spec);
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_RUN_CALL_H_
