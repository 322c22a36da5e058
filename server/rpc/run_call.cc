#include "server/rpc/run_call.h"

#include <memory>
#include <utility>

#include "server/errors/status_macros.h"
#include "server/plan/request_cost.h"
#include "server/rpc/check_load.h"
#include "server/rpc/guard.h"
#include "server/rpc/handle_request.h"

namespace hookwire::server {

RunCall* RunCall::Start(const Backend& backend, std::string id,
                        grpc::CallbackServerContext& context, Caller caller,
                        const grpc::ByteBuffer& request) {
  const std::shared_ptr<RunCall> call(
      new RunCall(backend, std::move(id), context, std::move(caller)));
  call->self_ = call;
  const absl::Status status = Guarded([&] { return call->Receive(request); });
  if (!status.ok()) call->Refuse(status);
  // gRPC calls the reactor only after this function has returned it, so the call still exists.
  return call.get();
}

absl::Status RunCall::Receive(const grpc::ByteBuffer& request) {
  HOOKWIRE_RETURN_IF_ERROR(run_.Hold(request.Valid() ? request.Length() : 0));
  const auto work = [this](const v1::RunRequest& message) {
    return PlanningWork(message.spec(), backend_.catalogue);
  };
  const auto handle = [this](const auto& decode) {
    const auto self = self_;
    TakeOver(this);
    const absl::Status status = Guarded([&]() -> absl::Status {
      HOOKWIRE_RETURN_IF_ERROR(run_.KeepGoing());
      HOOKWIRE_ASSIGN_OR_RETURN(const v1::RunRequest message, decode());
      return Begin(message.spec());
    });
    HandOver(this);
    if (!status.ok()) Refuse(status);
  };
  return HandleRequest<v1::RunRequest>(backend_.planning_threads, run_.client(), request, work,
                                       handle);
}

absl::Status RunCall::Begin(const v1::RunSpec& spec) {
  HOOKWIRE_RETURN_IF_ERROR(CheckLoad(backend_, spec.load_id()));
  HOOKWIRE_RETURN_IF_ERROR(
      run_.Hold(spec.SpaceUsedLong() + ValueBytes(spec, backend_.compute_dtype)));
  return run_.Begin(spec, Planner::Client::kListens, self_);
}

}  // namespace hookwire::server
