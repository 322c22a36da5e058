// Keeps exceptions from reaching gRPC.
//
// gRPC swallows an exception of a callback: the call would never end, or would end with
// UNIMPLEMENTED and no message. So every callback that gRPC calls, and every job of the planning
// threads, runs in Guarded.
#ifndef HOOKWIRE_SERVER_RPC_GUARD_H_
#define HOOKWIRE_SERVER_RPC_GUARD_H_

#include "absl/status/status.h"
#include "model/guard.h"
#include "server/errors/errors.h"

namespace hookwire::server {

// Returns what `body`, which returns an absl::Status, returns; if it throws, OUT_OF_MEMORY or
// INTERNAL, with a message.
template <typename F>
absl::Status Guarded(F&& body) noexcept {
  try {
    absl::Status returned;
    const absl::Status thrown = model::Guarded<absl::Status>([&] {
      returned = body();
      return absl::OkStatus();
    });
    return thrown.ok() ? returned : ExplainFailure(thrown);
  } catch (...) {
    // There is no memory for a message either. A status without one allocates nothing.
    return absl::Status(absl::StatusCode::kResourceExhausted, "");
  }
}

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_GUARD_H_
