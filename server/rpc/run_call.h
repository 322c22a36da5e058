// One call of Run: its reactor.
#ifndef HOOKWIRE_SERVER_RPC_RUN_CALL_H_
#define HOOKWIRE_SERVER_RPC_RUN_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "server/rpc/backend.h"
#include "server/rpc/run_reactor.h"

namespace hookwire::server {

class RunCall final : public RunReactor<grpc::ServerWriteReactor<grpc::ByteBuffer>> {
 public:
  // `backend` must outlive the call.
  static RunCall* Start(const Backend& backend, std::string id,
                        grpc::CallbackServerContext& context, const grpc::ByteBuffer& request);

 private:
  RunCall(const Backend& backend, std::string id, grpc::CallbackServerContext& context)
      : RunReactor(backend, std::move(id), context), backend_(backend) {}

  absl::Status Begin(const grpc::ByteBuffer& request);

  const Backend& backend_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_RUN_CALL_H_
