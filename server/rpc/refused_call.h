// A call that is refused: it ends as soon as it begins.
#ifndef HOOKWIRE_SERVER_RPC_REFUSED_CALL_H_
#define HOOKWIRE_SERVER_RPC_REFUSED_CALL_H_

#include <grpcpp/generic/async_generic_service.h>

#include "absl/status/status.h"
#include "server/rpc/status.h"

namespace hookwire::server {

// Deletes itself when the call is over.
class RefusedCall final : public grpc::ServerGenericBidiReactor {
 public:
  explicit RefusedCall(const absl::Status& status) { Finish(ToGrpcStatus(status)); }

 private:
  void OnDone() override { delete this; }
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_REFUSED_CALL_H_
