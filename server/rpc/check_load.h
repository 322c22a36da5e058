// Whether a request expects what this server has loaded.
#ifndef HOOKWIRE_SERVER_RPC_CHECK_LOAD_H_
#define HOOKWIRE_SERVER_RPC_CHECK_LOAD_H_

#include <string>

#include "absl/status/status.h"
#include "server/rpc/backend.h"

namespace hookwire::server {

// `expected` is a request's `load_id`; empty means any. FailedPrecondition (LOAD_CHANGED), which
// names both loads, if the server has another one. Call this before anything else of the request is
// checked: on another model the request may mean nothing, or, worse, something else.
absl::Status CheckLoad(const Backend& backend, const std::string& expected);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_CHECK_LOAD_H_
