// Where a request is decoded and handled: on gRPC's thread where that is certainly little work, on
// a planning thread otherwise.
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
#include "server/rpc/codec.h"
#include "server/rpc/planning_threads.h"

namespace hookwire::server {

// Decoding so many bytes takes less than a millisecond, even where they are all empty messages.
inline constexpr size_t kMaxInlineBytes = 32u << 10;
// Some milliseconds at most (plan/request_cost.h).
inline constexpr uint64_t kMaxInlineWork = 32u << 10;

// Calls `handle` once, now or later, unless this returns an error. It is given a function that
// decodes the request, or says why it cannot, and is called at most once. `work` says what handling
// would take, as in plan/request_cost.h. `handle` must not throw.
template <typename Request, typename Work, typename Handle>
absl::Status HandleRequest(PlanningThreads& threads, const std::string& client,
                           const grpc::ByteBuffer& bytes, const Work& work, Handle handle) {
  if (bytes.Valid() && bytes.Length() > kMaxInlineBytes) {
    return threads.Enqueue(client, [bytes, handle] {
      handle([&bytes]() -> absl::StatusOr<Request> {
        Request request;
        HOOKWIRE_RETURN_IF_ERROR(DecodeRequest(bytes, request));
        return request;
      });
    });
  }
  Request request;
  HOOKWIRE_RETURN_IF_ERROR(DecodeRequest(bytes, request));
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
