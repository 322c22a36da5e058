// The reactor of one Run call.
#ifndef HOOKWIRE_SERVER_RPC_RUN_CALL_H_
#define HOOKWIRE_SERVER_RPC_RUN_CALL_H_

#include <grpcpp/support/byte_buffer.h>

#include "absl/status/status.h"
#include "hookwire/v1/service.pb.h"
#include "server/rpc/run_reactor.h"

namespace hookwire::server {

class RunCall final : public RunReactor {
 public:
  using RunReactor::RunReactor;

 private:
  absl::Status Receive(const grpc::ByteBuffer& message) override;
  absl::Status Plan(const v1::RunSpec& spec);
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_RUN_CALL_H_
