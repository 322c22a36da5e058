#include "server/rpc/service.h"

#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/errors/status_macros.h"
#include "server/rpc/check_load.h"
#include "server/rpc/codec.h"
#include "server/rpc/interact_call.h"
#include "server/rpc/list_hooks.h"
#include "server/rpc/run_call.h"
#include "server/rpc/status.h"
#include "server/rpc/tokenizer_call.h"
#include "server/rpc/tokenizer_files.h"
#include "server/rpc/weight_call.h"
#include "server/rpc/weight_reader.h"
#include "server/stream/encoding.h"

namespace hookwire::server {
namespace {

// Decodes a Request, lets `answer` make the response of it, and sends that or the error.
template <typename Request, typename Answer>
grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext& context, const grpc::ByteBuffer& bytes,
                                grpc::ByteBuffer& response, const Answer& answer) {
  Request request;
  absl::Status status = DecodeRequest(bytes, request);
  if (status.ok()) {
    auto message = answer(request);
    status = message.status();
    if (status.ok()) response = EncodeMessage(*message);
  }
  grpc::ServerUnaryReactor* const reactor = context.DefaultReactor();
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

v1::Load LoadOf(const Backend& backend) {
  const Scheduler::Load runs = backend.scheduler.load();
  v1::Load load;
  load.set_waiting_runs(runs.waiting);
  load.set_running_runs(runs.running);
  load.set_open_results(static_cast<uint32_t>(backend.streams.size()));
  load.set_buffered_bytes(backend.budget.held());
  if (const SharedMemory* const memory = backend.shared_memory; memory != nullptr) {
    load.set_shared_memory_bytes(memory->held());
    load.set_shared_memory_clients(static_cast<uint32_t>(memory->clients()));
  }
  return load;
}

}  // namespace

ActivationServiceImpl::ActivationServiceImpl(const Backend& backend)
    : backend_(backend), run_id_prefix_(std::random_device()()) {}

grpc::ServerUnaryReactor* ActivationServiceImpl::GetModel(grpc::CallbackServerContext* context,
                                                          const grpc::ByteBuffer* request,
                                                          grpc::ByteBuffer* response) {
  const auto answer = [this](const v1::GetModelRequest&) -> absl::StatusOr<v1::GetModelResponse> {
    v1::GetModelResponse out;
    *out.mutable_model() = backend_.model;
    out.mutable_model()->set_weights_digest(backend_.weights_digest());
    *out.mutable_server() = backend_.server;
    *out.mutable_load() = LoadOf(backend_);
    return out;
  };
  return Unary<v1::GetModelRequest>(*context, *request, *response, answer);
}

grpc::ServerUnaryReactor* ActivationServiceImpl::ListHooks(grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer* request,
                                                           grpc::ByteBuffer* response) {
  const auto answer =
      [this](const v1::ListHooksRequest& message) -> absl::StatusOr<v1::ListHooksResponse> {
    HOOKWIRE_RETURN_IF_ERROR(CheckLoad(backend_, message.load_id()));
    return ListMatchingHooks(backend_.catalogue, backend_.compute_dtype, message);
  };
  return Unary<v1::ListHooksRequest>(*context, *request, *response, answer);
}

grpc::ServerUnaryReactor* ActivationServiceImpl::Plan(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request,
                                                      grpc::ByteBuffer* response) {
  const auto answer = [this](const v1::PlanRequest& message) -> absl::StatusOr<v1::PlanResponse> {
    HOOKWIRE_RETURN_IF_ERROR(CheckLoad(backend_, message.spec().load_id()));
    const absl::StatusOr<std::shared_ptr<const RunPlan>> plan =
        backend_.planner.Plan(message.spec(), Planner::Client::kAnswers);
    if (!plan.ok()) return plan.status();
    v1::PlanResponse out;
    *out.mutable_plan() = backend_.planner.Describe(**plan);
    return out;
  };
  return Unary<v1::PlanRequest>(*context, *request, *response, answer);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* ActivationServiceImpl::GetTokenizer(
    grpc::CallbackServerContext*, const grpc::ByteBuffer* request) {
  const auto open = [&]() -> absl::StatusOr<TokenizerFiles> {
    v1::GetTokenizerRequest message;
    HOOKWIRE_RETURN_IF_ERROR(DecodeRequest(*request, message));
    HOOKWIRE_RETURN_IF_ERROR(CheckLoad(backend_, message.load_id()));
    return TokenizerFiles::Open(backend_.directory);
  };
  return new TokenizerCall(open());
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* ActivationServiceImpl::GetWeight(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  const auto open = [&]() -> absl::StatusOr<WeightReader> {
    v1::GetWeightRequest message;
    HOOKWIRE_RETURN_IF_ERROR(DecodeRequest(*request, message));
    HOOKWIRE_RETURN_IF_ERROR(CheckLoad(backend_, message.load_id()));
    return WeightReader::Open(backend_.parameters, message, backend_.weights_digest());
  };
  return new WeightCall(*context, open(), backend_.weights_guard, backend_.stall_timeout);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* ActivationServiceImpl::Run(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return RunCall::Start(backend_, NextRunId(), *context, *request);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ActivationServiceImpl::Interact(
    grpc::CallbackServerContext* context) {
  return InteractCall::Start(backend_, NextRunId(), *context);
}

std::string ActivationServiceImpl::NextRunId() {
  return absl::StrFormat("%08x-%d", run_id_prefix_, ++runs_);
}

}  // namespace hookwire::server
