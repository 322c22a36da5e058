#include "server/rpc/run_call.h"

#include "server/errors/status_macros.h"
#include "server/plan/request_cost.h"
#include "server/rpc/check_load.h"

namespace hookwire::server {

absl::Status RunCall::Receive(const grpc::ByteBuffer& bytes) {
  const auto work = [this](const v1::RunRequest& request) {
    return PlanningWork(request.spec(), backend_.catalogue);
  };
  return Parse<v1::RunRequest>(
      bytes, work, [this](const v1::RunRequest& request) { return Plan(request.spec()); });
}

absl::Status RunCall::Plan(const v1::RunSpec& spec) {
  HOOKWIRE_RETURN_IF_ERROR(CheckLoad(backend_, spec.load_id()));
  HOOKWIRE_RETURN_IF_ERROR(memory_->Grow(ValueBytes(spec, backend_.compute_dtype)));
  return Begin(spec, Planner::Client::kListens);
}

}  // namespace hookwire::server
