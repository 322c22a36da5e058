#include "server/rpc/run_reactor.h"

#include <memory>
#include <utility>

#include "server/errors/status_macros.h"
#include "server/rpc/guard.h"
#include "server/rpc/status.h"

namespace hookwire::server {

RunReactor::RunReactor(const Backend& backend, std::string id, grpc::CallbackServerContext& context,
                       Caller caller)
    : ServedCall(backend, backend.requests, context, std::move(caller)),
      run_(backend, std::move(id), caller_.principal, memory_, *this) {}

absl::Status RunReactor::Begin(const v1::RunSpec& spec, Planner::Client client) {
  HOOKWIRE_RETURN_IF_ERROR(run_.Begin(spec, client, shared_from_this()));
  LeaveRegistry();
  return absl::OkStatus();
}

void RunReactor::Fail(const absl::Status& status) {
  if (run_.begun()) return CancelRun(status);
  (void)Guarded([&] {
    run_.LogRefusal(status);
    return absl::OkStatus();
  });
  Refuse(status);
}

void RunReactor::CancelRun(const absl::Status& status) {
  (void)Guarded([&] {
    run_.Cancel(status);
    return absl::OkStatus();
  });
}

void RunReactor::OnWriteDone(bool ok) {
  TakeOverCall();
  const auto self = shared_from_this();
  const absl::Status status = Guarded([&] {
    message_.Clear();
    run_.OnWritten(ok);
    return absl::OkStatus();
  });
  if (!status.ok()) CancelRun(status);
  HandOverCall();
}

void RunReactor::OnCancel() {
  TakeOverCall();
  const auto self = shared_from_this();
  CancelRun(ClientGone());
  ServedCall::OnCancel();
  HandOverCall();
}

void RunReactor::OnDone() {
  // ServedCall::OnDone may drop the last other reference.
  TakeOverCall();
  const auto self = shared_from_this();
  ServedCall::OnDone();
  run_.Detach();
}

void RunReactor::Write(const grpc::ByteBuffer& message) {
  message_ = message;
  StartWrite(&message_);
}

void RunReactor::WriteAndClose(const grpc::ByteBuffer& message) {
  message_ = message;
  StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
}

void RunReactor::Close(const absl::Status& status) { Finish(ToGrpcStatus(status)); }

}  // namespace hookwire::server
