#include "server/rpc/service.h"

#include <cstdint>
#include <memory>
#include <new>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "hookwire/v1/service.grpc.pb.h"
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

std::string PathOf(const char* method) {
  return absl::StrCat("/", v1::ActivationService::service_full_name(), "/", method);
}

using GetModelCall = UnaryCall<v1::GetModelRequest, v1::GetModelResponse>;
using ListHooksCall = UnaryCall<v1::ListHooksRequest, v1::ListHooksResponse>;
using PlanCall = UnaryCall<v1::PlanRequest, v1::PlanResponse>;

GetModelCall::Method GetModel(const Backend& backend) {
  const auto no_work = [](const v1::GetModelRequest&) { return uint64_t{0}; };
  const auto answer = [&backend](const v1::GetModelRequest&, const ServedCall&,
                                 RequestMemory::Lease& memory,
                                 v1::GetModelResponse& out) -> absl::Status {
    // So that Load.request_bytes does not count this request.
    HOOKWIRE_RETURN_IF_ERROR(memory.Resize(0));
    *out.mutable_model() = backend.model;
    out.mutable_model()->set_weights_digest(backend.weights_digest());
    *out.mutable_server() = backend.server;
    *out.mutable_load() = LoadOf(backend);
    return absl::OkStatus();
  };
  return {no_work, answer};
}

ListHooksCall::Method ListHooks(const Backend& backend) {
  const auto work = [&backend](const v1::ListHooksRequest& request) {
    return MatchingWork(static_cast<uint64_t>(request.filters_size()), backend.catalogue);
  };
  const auto answer = [&backend](const v1::ListHooksRequest& request, const ServedCall& call,
                                 RequestMemory::Lease&,
                                 v1::ListHooksResponse& out) -> absl::Status {
    HOOKWIRE_RETURN_IF_ERROR(CheckLoad(backend, request.load_id()));
    return ListMatchingHooks(
        backend.catalogue, backend.compute_dtype, request, [&call] { return call.KeepGoing(); },
        out);
  };
  return {work, answer};
}

PlanCall::Method Plan(const Backend& backend) {
  const auto work = [&backend](const v1::PlanRequest& request) {
    return PlanningWork(request.spec(), backend.catalogue);
  };
  const auto answer = [&backend](const v1::PlanRequest& request, const ServedCall& call,
                                 RequestMemory::Lease& memory,
                                 v1::PlanResponse& out) -> absl::Status {
    HOOKWIRE_RETURN_IF_ERROR(CheckLoad(backend, request.spec().load_id()));
    HOOKWIRE_RETURN_IF_ERROR(memory.Grow(ValueBytes(request.spec(), backend.compute_dtype)));
    HOOKWIRE_ASSIGN_OR_RETURN(const std::shared_ptr<const RunPlan> plan,
                              backend.planner.Plan(request.spec(), Planner::Client::kAnswers,
                                                   [&call] { return call.KeepGoing(); }));
    HOOKWIRE_RETURN_IF_ERROR(memory.Resize(HeldBytes(*plan)));
    backend.planner.Describe(*plan, *out.mutable_plan());
    return absl::OkStatus();
  };
  return {work, answer};
}

}  // namespace

// gRPC's reflection lists a service if one of its methods is registered by name.
class ActivationServiceImpl::Listed final
    : public v1::ActivationService::WithGenericMethod_GetModel<
          v1::ActivationService::WithGenericMethod_ListHooks<
              v1::ActivationService::WithGenericMethod_GetTokenizer<
                  v1::ActivationService::WithGenericMethod_GetWeight<
                      v1::ActivationService::WithGenericMethod_Plan<
                          v1::ActivationService::WithGenericMethod_Run<
                              v1::ActivationService::WithRawCallbackMethod_Interact<
                                  v1::ActivationService::Service>>>>>>> {
 public:
  explicit Listed(ActivationServiceImpl& service) : service_(service) {}

  grpc::ServerGenericBidiReactor* Interact(grpc::CallbackServerContext* context) override {
    return service_.Start(PathOf("Interact"), *context);
  }

 private:
  ActivationServiceImpl& service_;
};

ActivationServiceImpl::ActivationServiceImpl(const Backend& backend)
    : backend_(backend),
      run_id_prefix_(std::random_device()()),
      listed_(std::make_unique<Listed>(*this)) {
  using Context = grpc::CallbackServerContext;
  methods_[PathOf("GetModel")] = [&backend](Context& context, Caller caller) {
    return std::make_shared<GetModelCall>(backend, context, std::move(caller), GetModel(backend));
  };
  methods_[PathOf("ListHooks")] = [&backend](Context& context, Caller caller) {
    return std::make_shared<ListHooksCall>(backend, context, std::move(caller), ListHooks(backend));
  };
  methods_[PathOf("Plan")] = [&backend](Context& context, Caller caller) {
    return std::make_shared<PlanCall>(backend, context, std::move(caller), Plan(backend));
  };
  methods_[PathOf("GetTokenizer")] = [&backend](Context& context, Caller caller) {
    return std::make_shared<TokenizerCall>(backend, context, std::move(caller));
  };
  methods_[PathOf("GetWeight")] = [&backend](Context& context, Caller caller) {
    return std::make_shared<WeightCall>(backend, context, std::move(caller));
  };
  methods_[PathOf("Run")] = [this](Context& context, Caller caller) {
    return std::make_shared<RunCall>(backend_, NextRunId(), context, std::move(caller));
  };
  methods_[PathOf("Interact")] = [this](Context& context, Caller caller) {
    return std::make_shared<InteractCall>(backend_, NextRunId(), context, std::move(caller));
  };
}

ActivationServiceImpl::~ActivationServiceImpl() = default;

void ActivationServiceImpl::RegisterWith(grpc::ServerBuilder& builder) {
  builder.RegisterService(listed_.get());
  builder.RegisterCallbackGenericService(this);
}

grpc::ServerGenericBidiReactor* ActivationServiceImpl::CreateReactor(
    grpc::GenericCallbackServerContext* context) {
  return Start(context->method(), *context);
}

grpc::ServerGenericBidiReactor* ActivationServiceImpl::Start(const std::string& method,
                                                             grpc::CallbackServerContext& context) {
  grpc::ServerGenericBidiReactor* reactor = nullptr;
  const absl::Status status = Guarded([&]() -> absl::Status {
    const auto found = methods_.find(method);
    if (found == methods_.end()) {
      return absl::UnimplementedError(absl::StrCat("this server has no method ", method));
    }
    HOOKWIRE_ASSIGN_OR_RETURN(Caller caller, Admit(backend_, context));
    const std::shared_ptr<ServedCall> call = found->second(context, std::move(caller));
    reactor = ServedCall::Start(call);
    return absl::OkStatus();
  });
  // If there is no memory even for a RefusedCall, gRPC ends the call when it is given null.
  return status.ok() ? reactor : new (std::nothrow) RefusedCall(status);
}

std::string ActivationServiceImpl::NextRunId() {
  return absl::StrFormat("%08x-%d", run_id_prefix_, ++runs_);
}

}  // namespace hookwire::server
