// The reactor of one Interact call: a run as in run_call.h, whose client also sends large values
// and answers to callbacks.
#ifndef HOOKWIRE_SERVER_RPC_INTERACT_CALL_H_
#define HOOKWIRE_SERVER_RPC_INTERACT_CALL_H_

#include <grpcpp/support/byte_buffer.h>

#include "absl/status/status.h"
#include "hookwire/v1/service.pb.h"
#include "server/rpc/run_reactor.h"
#include "server/rpc/uploads.h"

namespace hookwire::server {

// Messages are read one after another; the spec may be decoded and planned on a planning thread,
// and no message is read until that is done.
class InteractCall final : public RunReactor {
 public:
  using RunReactor::RunReactor;

 private:
  // ServedCall
  absl::Status Receive(const grpc::ByteBuffer& message) override;
  absl::Status ReceiveEnd() override;

  absl::Status ReceiveFirst(const grpc::ByteBuffer& message);
  absl::Status Take(v1::InteractRequest& request);
  absl::Status TakeSpec(v1::RunSpec& spec);
  absl::Status TakeUpload(const v1::TensorChunks& pieces);
  absl::Status BeginIfComplete();

  bool has_spec_ = false;
  // The request, until all uploads have come.
  v1::RunSpec spec_;
  Uploads uploads_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_INTERACT_CALL_H_
