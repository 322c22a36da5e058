// The reactor of a call with one request and one answer.
#ifndef HOOKWIRE_SERVER_RPC_UNARY_CALL_H_
#define HOOKWIRE_SERVER_RPC_UNARY_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/errors/status_macros.h"
#include "server/memory/request_memory.h"
#include "server/rpc/backend.h"
#include "server/rpc/caller.h"
#include "server/rpc/guard.h"
#include "server/rpc/handle_request.h"
#include "server/rpc/handover.h"
#include "server/rpc/status.h"
#include "server/stream/encoding.h"

namespace hookwire::server {

// Deletes itself when the call is over.
template <typename Request, typename Response>
class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  struct Method {
    // How much work answering is, as in plan/request_cost.h.
    std::function<uint64_t(const Request&)> work;
    // Makes the answer. What `memory` holds is charged until the answer has been sent.
    std::function<absl::StatusOr<Response>(const Request&, const UnaryCall& call,
                                           RequestMemory::Lease& memory)>
        answer;
  };

  // `backend`, `context` and `response` must outlive the call.
  static UnaryCall* Start(const Backend& backend, grpc::CallbackServerContext& context,
                          Caller caller, const grpc::ByteBuffer& request,
                          grpc::ByteBuffer& response, Method method) {
    auto* const call =
        new UnaryCall(backend, context, std::move(caller), response, std::move(method));
    call->Begin(request);
    return call;
  }

  // CANCELLED or DEADLINE_EXCEEDED when the client no longer waits for the answer.
  absl::Status KeepGoing() const {
    if (cancelled_) return ClientGone();
    if (backend_.clock.Now() < deadline_) return absl::OkStatus();
    return absl::DeadlineExceededError("the deadline passed before there was an answer");
  }

 private:
  UnaryCall(const Backend& backend, grpc::CallbackServerContext& context, Caller caller,
            grpc::ByteBuffer& response, Method method)
      : backend_(backend),
        caller_(std::move(caller)),
        memory_(backend.request_memory.Open(caller_.principal.key)),
        deadline_(absl::FromChrono(context.deadline())),
        response_(response),
        method_(std::move(method)) {}

  void Begin(const grpc::ByteBuffer& request) {
    const absl::Status status = Guarded([&]() -> absl::Status {
      HOOKWIRE_RETURN_IF_ERROR(memory_->Grow(request.Valid() ? request.Length() : 0));
      return HandleRequest<Request>(backend_.planning_threads, caller_.principal.key, request,
                                    method_.work, [this](const auto& decode) { Answer(decode); });
    });
    if (!status.ok()) End(status);
  }

  template <typename Decode>
  void Answer(const Decode& decode) {
    TakeOver(this);
    End(Guarded([&]() -> absl::Status {
      HOOKWIRE_RETURN_IF_ERROR(KeepGoing());
      HOOKWIRE_ASSIGN_OR_RETURN(const Request request, decode());
      HOOKWIRE_RETURN_IF_ERROR(memory_->Grow(request.SpaceUsedLong()));
      HOOKWIRE_ASSIGN_OR_RETURN(const Response response, method_.answer(request, *this, *memory_));
      response_ = EncodeMessage(response);
      return absl::OkStatus();
    }));
  }

  // Must be the last statement of its caller: the call may be destroyed when it returns.
  void End(const absl::Status& status) {
    HandOver(this);
    Finish(ToGrpcStatus(status));
  }

  void OnCancel() override { cancelled_ = true; }
  void OnDone() override {
    TakeOver(this);
    delete this;
  }

  const Backend& backend_;
  const Caller caller_;
  const std::unique_ptr<RequestMemory::Lease> memory_;
  const absl::Time deadline_;
  grpc::ByteBuffer& response_;
  const Method method_;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_UNARY_CALL_H_
