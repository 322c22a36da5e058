#include "server/rpc/run_call.h"

#include <memory>
#include <utility>

#include "absl/time/time.h"
#include "hookwire/v1/service.pb.h"
#include "server/errors/status_macros.h"
#include "server/rpc/check_load.h"
#include "server/rpc/codec.h"

namespace hookwire::server {

RunCall* RunCall::Start(const Backend& backend, std::string id,
                        grpc::CallbackServerContext& context, const grpc::ByteBuffer& request) {
  const std::shared_ptr<RunCall> call(new RunCall(backend, std::move(id), context));
  call->self_ = call;
  if (const absl::Status status = call->Begin(request); !status.ok()) call->Refuse(status);
  // gRPC calls nothing before it has been given the reactor, so that the call is still there.
  return call.get();
}

absl::Status RunCall::Begin(const grpc::ByteBuffer& request) {
  v1::RunRequest message;
  HOOKWIRE_RETURN_IF_ERROR(DecodeRequest(request, message));
  HOOKWIRE_RETURN_IF_ERROR(CheckLoad(backend_, message.spec().load_id()));
  return session_.Begin(message.spec(), Planner::Client::kListens,
                        absl::FromChrono(context_.deadline()), self_);
}

}  // namespace hookwire::server
