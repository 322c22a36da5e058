#include "server/rpc/service.h"

#include <memory>
#include <new>
#include <random>
#include <utility>

#include "absl/strings/str_format.h"
#include "server/errors/status_macros.h"
#include "server/plan/request_cost.h"
#include "server/rpc/caller.h"
#include "server/rpc/check_load.h"
#include "server/rpc/guard.h"
#include "server/rpc/interact_call.h"
#include "server/rpc/list_hooks.h"
#include "server/rpc/refused_call.h"
#include "server/rpc/run_call.h"
#include "server/rpc/tokenizer_call.h"
#include "server/rpc/unary_call.h"
#include "server/rpc/weight_call.h"

namespace hookwire::server {
namespace {

v1::Load LoadOf(const Backend& backend) {
  const Scheduler::Load runs = backend.scheduler.load();
  v1::Load load;
  load.set_waiting_runs(runs.waiting);
  load.set_running_runs(runs.running);
  load.set_open_results(static_cast<uint32_t>(backend.streams.size()));
  load.set_buffered_bytes(backend.budget.held());
  load.set_request_bytes(backend.request_memory.held());
  if (const SharedMemory* const memory = backend.shared_memory; memory != nullptr) {
    load.set_shared_memory_bytes(memory->held());
    load.set_shared_memory_clients(static_cast<uint32_t>(memory->clients()));
  }
  return load;
}

// The caller, if the client may open another call.
absl::StatusOr<Caller> Admit(const Backend& backend, const grpc::CallbackServerContext& context) {
  Principal principal = backend.peers.Of(context.peer());
  HOOKWIRE_ASSIGN_OR_RETURN(CallLimit::Call call, backend.call_limit.Admit(principal));
  return Caller{std::move(principal), std::move(call)};
}

// The reactor that `start` makes for the caller, or one that refuses the call. `start` must not
// throw after it has made a reactor.
template <typename Reactor, typename Start>
Reactor* Open(const Backend& backend, const grpc::CallbackServerContext& context,
              const Start& start) {
  Reactor* reactor = nullptr;
  const absl::Status status = Guarded([&]() -> absl::Status {
    HOOKWIRE_ASSIGN_OR_RETURN(Caller caller, Admit(backend, context));
    reactor = start(std::move(caller));
    return absl::OkStatus();
  });
  // If there is no memory even for a RefusedCall, gRPC ends the call when it is given null.
  return status.ok() ? reactor : new (std::nothrow) RefusedCall<Reactor>(status);
}

uint64_t NoWork(const v1::GetModelRequest&) { return 0; }

}  // namespace

ActivationServiceImpl::ActivationServiceImpl(const Backend& backend)
    : backend_(backend), run_id_prefix_(std::random_device()()) {}

grpc::ServerUnaryReactor* ActivationServiceImpl::GetModel(grpc::CallbackServerContext* context,
                                                          const grpc::ByteBuffer* request,
                                                          grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::GetModelRequest, v1::GetModelResponse>;
  const auto answer = [this](const v1::GetModelRequest&, const Call&,
                             RequestMemory::Lease& memory) -> absl::StatusOr<v1::GetModelResponse> {
    // So that Load.request_bytes does not count this request.
    HOOKWIRE_RETURN_IF_ERROR(memory.Resize(0));
    v1::GetModelResponse out;
    *out.mutable_model() = backend_.model;
    out.mutable_model()->set_weights_digest(backend_.weights_digest());
    *out.mutable_server() = backend_.server;
    *out.mutable_load() = LoadOf(backend_);
    return out;
  };
  return Open<grpc::ServerUnaryReactor>(backend_, *context, [&](Caller caller) {
    return Call::Start(backend_, *context, std::move(caller), *request, *response,
                       {NoWork, answer});
  });
}

grpc::ServerUnaryReactor* ActivationServiceImpl::ListHooks(grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer* request,
                                                           grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::ListHooksRequest, v1::ListHooksResponse>;
  const auto work = [this](const v1::ListHooksRequest& message) {
    return MatchingWork(static_cast<uint64_t>(message.filters_size()), backend_.catalogue);
  };
  const auto answer = [this](const v1::ListHooksRequest& message, const Call& call,
                             RequestMemory::Lease&) -> absl::StatusOr<v1::ListHooksResponse> {
    HOOKWIRE_RETURN_IF_ERROR(CheckLoad(backend_, message.load_id()));
    return ListMatchingHooks(backend_.catalogue, backend_.compute_dtype, message,
                             [&call] { return call.KeepGoing(); });
  };
  return Open<grpc::ServerUnaryReactor>(backend_, *context, [&](Caller caller) {
    return Call::Start(backend_, *context, std::move(caller), *request, *response, {work, answer});
  });
}

grpc::ServerUnaryReactor* ActivationServiceImpl::Plan(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request,
                                                      grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::PlanRequest, v1::PlanResponse>;
  const auto work = [this](const v1::PlanRequest& message) {
    return PlanningWork(message.spec(), backend_.catalogue);
  };
  const auto answer = [this](const v1::PlanRequest& message, const Call& call,
                             RequestMemory::Lease& memory) -> absl::StatusOr<v1::PlanResponse> {
    HOOKWIRE_RETURN_IF_ERROR(CheckLoad(backend_, message.spec().load_id()));
    HOOKWIRE_RETURN_IF_ERROR(memory.Grow(ValueBytes(message.spec(), backend_.compute_dtype)));
    HOOKWIRE_ASSIGN_OR_RETURN(const std::shared_ptr<const RunPlan> plan,
                              backend_.planner.Plan(message.spec(), Planner::Client::kAnswers,
                                                    [&call] { return call.KeepGoing(); }));
    HOOKWIRE_RETURN_IF_ERROR(memory.Resize(HeldBytes(*plan)));
    v1::PlanResponse out;
    *out.mutable_plan() = backend_.planner.Describe(*plan);
    return out;
  };
  return Open<grpc::ServerUnaryReactor>(backend_, *context, [&](Caller caller) {
    return Call::Start(backend_, *context, std::move(caller), *request, *response, {work, answer});
  });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* ActivationServiceImpl::GetTokenizer(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return Open<grpc::ServerWriteReactor<grpc::ByteBuffer>>(backend_, *context, [&](Caller caller) {
    return TokenizerCall::Start(backend_, std::move(caller), *request);
  });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* ActivationServiceImpl::GetWeight(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return Open<grpc::ServerWriteReactor<grpc::ByteBuffer>>(backend_, *context, [&](Caller caller) {
    return WeightCall::Start(backend_, *context, std::move(caller), *request);
  });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* ActivationServiceImpl::Run(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return Open<grpc::ServerWriteReactor<grpc::ByteBuffer>>(backend_, *context, [&](Caller caller) {
    return RunCall::Start(backend_, NextRunId(), *context, std::move(caller), *request);
  });
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ActivationServiceImpl::Interact(
    grpc::CallbackServerContext* context) {
  return Open<grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>>(
      backend_, *context, [&](Caller caller) {
        return InteractCall::Start(backend_, NextRunId(), *context, std::move(caller));
      });
}

std::string ActivationServiceImpl::NextRunId() {
  return absl::StrFormat("%08x-%d", run_id_prefix_, ++runs_);
}

}  // namespace hookwire::server
