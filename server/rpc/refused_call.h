// A call that is refused: it ends as soon as it begins.
#ifndef HOOKWIRE_SERVER_RPC_REFUSED_CALL_H_
#define HOOKWIRE_SERVER_RPC_REFUSED_CALL_H_

#include "absl/status/status.h"
#include "server/rpc/status.h"

namespace hookwire::server {

// `Reactor` is any of gRPC's server reactors. Deletes itself when the call is over.
template <typename Reactor>
class RefusedCall final : public Reactor {
 public:
  explicit RefusedCall(const absl::Status& status) { this->Finish(ToGrpcStatus(status)); }

 private:
  void OnDone() override { delete this; }
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_REFUSED_CALL_H_
