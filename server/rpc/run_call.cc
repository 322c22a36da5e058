#include "server/rpc/run_call.h"

#include <utility>

#include "absl/time/time.h"
#include "hookwire/v1/service.pb.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"
#include "server/rpc/codec.h"
#include "server/rpc/status.h"

namespace hookwire::server {

RunCall* RunCall::Start(const Backend& backend, std::string id,
                        grpc::CallbackServerContext& context, const grpc::ByteBuffer& request) {
  const std::shared_ptr<RunCall> call(new RunCall(backend, std::move(id), context));
  call->self_ = call;
  if (const absl::Status status = call->Begin(request); !status.ok()) {
    call->Finish(ToGrpcStatus(status));
    call->session_.LogRefusal(status);
  }
  // gRPC calls nothing before it has been given the reactor, so that the call is still there.
  return call.get();
}

absl::Status RunCall::Begin(const grpc::ByteBuffer& request) {
  v1::RunRequest message;
  HOOKWIRE_RETURN_IF_ERROR(DecodeRequest(request, message));
  return session_.Begin(message.spec(), Planner::Client::kListens,
                        absl::FromChrono(context_.deadline()), self_);
}

void RunCall::OnWriteDone(bool ok) {
  message_.Clear();
  session_.OnWritten(ok);
}

void RunCall::OnCancel() { session_.Cancel(ClientGone()); }

void RunCall::OnDone() {
  session_.Detach();
  // Often the last reference.
  const std::shared_ptr<RunCall> self = std::move(self_);
}

void RunCall::Write(const grpc::ByteBuffer& message) {
  message_ = message;
  StartWrite(&message_);
}

void RunCall::WriteAndClose(const grpc::ByteBuffer& message) {
  message_ = message;
  StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
}

void RunCall::Close(const absl::Status& status) { Finish(ToGrpcStatus(status)); }

void RunCall::Break(const absl::Status& status) { BreakOff(context_, status); }

}  // namespace hookwire::server
