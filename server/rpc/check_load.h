// Whether a request is meant for what this server has loaded.
#ifndef HOOKWIRE_SERVER_RPC_CHECK_LOAD_H_
#define HOOKWIRE_SERVER_RPC_CHECK_LOAD_H_

#include <string>

#include "absl/status/status.h"
#include "server/rpc/backend.h"

namespace hookwire::server {

// `expected` is a request's `load_id`; empty, any load will do. FailedPrecondition (LOAD_CHANGED),
// with both loads named, where the server holds another one. Asked before anything else of a
// request is looked at: what it says may make no sense on this model, or worse, another sense.
absl::Status CheckLoad(const Backend& backend, const std::string& expected);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_CHECK_LOAD_H_
