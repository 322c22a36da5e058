// The reactor of a call with one request and one answer.
#ifndef HOOKWIRE_SERVER_RPC_UNARY_CALL_H_
#define HOOKWIRE_SERVER_RPC_UNARY_CALL_H_

#include <google/protobuf/arena.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "server/errors/status_macros.h"
#include "server/memory/request_memory.h"
#include "server/rpc/backend.h"
#include "server/rpc/caller.h"
#include "server/rpc/served_call.h"
#include "server/stream/encoding.h"

namespace hookwire::server {

template <typename Request, typename Response>
class UnaryCall final : public ServedCall {
 public:
  struct Method {
    // How much work answering is, as in plan/request_cost.h.
    std::function<uint64_t(const Request&)> work;
    // Writes the answer into an empty message. What `memory` holds is charged until the answer has
    // been sent.
    std::function<absl::Status(const Request&, const ServedCall& call, RequestMemory::Lease& memory,
                               Response& answer)>
        answer;
  };

  // `backend` must outlive the call.
  UnaryCall(const Backend& backend, grpc::CallbackServerContext& context, Caller caller,
            Method method)
      : ServedCall(backend, backend.calls, context, std::move(caller)),
        method_(std::move(method)) {}

 private:
  absl::Status Receive(const grpc::ByteBuffer& bytes) override {
    return Parse<Request>(bytes, method_.work,
                          [this](const Request& request) { return Answer(request); });
  }

  absl::Status Answer(const Request& request) {
    google::protobuf::Arena arena;
    auto* const answer = google::protobuf::Arena::CreateMessage<Response>(&arena);
    HOOKWIRE_RETURN_IF_ERROR(method_.answer(request, *this, *memory_, *answer));
    HOOKWIRE_RETURN_IF_ERROR(memory_->Grow(arena.SpaceAllocated() + answer->ByteSizeLong()));
    SendLast(EncodeMessage(*answer));
    return absl::OkStatus();
  }

  const Method method_;
};

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_UNARY_CALL_H_
