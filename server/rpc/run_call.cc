#include "server/rpc/run_call.h"

#include "server/errors/status_macros.h"
#include "server/plan/request_cost.h"
#include "server/rpc/check_load.h"
#include "server/rpc/handle_request.h"

namespace hookwire::server {

absl::Status RunCall::Receive(const grpc::ByteBuffer& bytes) {
  const auto work = [this](const v1::RunRequest& request) {
    return PlanningWork(request.spec(), backend_.catalogue);
  };
  const auto handle = [this, self = shared_from_this()](const auto& decode) {
    Step([&]() -> absl::Status {
      HOOKWIRE_RETURN_IF_ERROR(KeepGoing());
      HOOKWIRE_ASSIGN_OR_RETURN(const v1::RunRequest request, decode());
      return Plan(request.spec());
    });
  };
  return HandleRequest<v1::RunRequest>(backend_.planning_threads, run_.client(), *memory_, bytes,
                                       work, handle);
}

absl::Status RunCall::Plan(const v1::RunSpec& spec) {
  HOOKWIRE_RETURN_IF_ERROR(CheckLoad(backend_, spec.load_id()));
  HOOKWIRE_RETURN_IF_ERROR(memory_->Grow(ValueBytes(spec, backend_.compute_dtype)));
  return Begin(spec, Planner::Client::kListens);
}

}  // namespace hookwire::server
