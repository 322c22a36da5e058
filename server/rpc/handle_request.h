// Chooses the thread on which a request is decoded and handled: gRPC's if that is certainly little
// work, else a planning thread.
#ifndef HOOKWIRE_SERVER_RPC_HANDLE_REQUEST_H_
#define HOOKWIRE_SERVER_RPC_HANDLE_REQUEST_H_

#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/errors/status_macros.h"
#include "server/memory/request_memory.h"
#include "server/rpc/codec.h"
#include "server/rpc/planning_threads.h"

namespace hookwire::server {

// Requests of at most so many bytes are decoded on gRPC's thread: that takes less than a
// millisecond, even if they are all empty messages.
inline constexpr size_t kMaxInlineBytes = 32u << 10;
// Requests with at most so much work (plan/request_cost.h) are handled there: a few milliseconds.
inline constexpr uint64_t kMaxInlineWork = 32u << 10;

// Charges what the request takes when it is parsed to `memory`, and parses it.
template <typename Request>
absl::StatusOr<Request> Decode(const grpc::ByteBuffer& bytes, RequestMemory::Lease& memory) {
  Request request;
  HOOKWIRE_RETURN_IF_ERROR(memory.Grow(DecodedBytes(bytes, request)));
  HOOKWIRE_RETURN_IF_ERROR(DecodeRequest(bytes, request));
  return request;
}

// Calls `handle` once, now or later, unless this returns an error. `handle` is given a function
// that returns the decoded request, or the error of decoding it; it may call that once, and must
// not throw, and must keep `memory`. `work` returns how much work handling a request is, as in
// plan/request_cost.h.
template <typename Request, typename Work, typename Handle>
absl::Status HandleRequest(PlanningThreads& threads, const std::string& client,
                           RequestMemory::Lease& memory, const grpc::ByteBuffer& bytes,
                           const Work& work, const Handle& handle) {
  if (bytes.Valid() && bytes.Length() > kMaxInlineBytes) {
    return threads.Enqueue(client, [bytes, handle, &memory] {
      handle([&] { return Decode<Request>(bytes, memory); });
    });
  }
  HOOKWIRE_ASSIGN_OR_RETURN(Request request, Decode<Request>(bytes, memory));
  const auto decoded = std::make_shared<Request>(std::move(request));
  const auto take = [decoded]() -> absl::StatusOr<Request> { return std::move(*decoded); };
  if (work(*decoded) > kMaxInlineWork) {
    return threads.Enqueue(client, [take, handle] { handle(take); });
  }
  handle(take);
  return absl::OkStatus();
}

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_HANDLE_REQUEST_H_
