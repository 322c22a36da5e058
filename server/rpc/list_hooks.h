// The answer to ListHooks.
#ifndef HOOKWIRE_SERVER_RPC_LIST_HOOKS_H_
#define HOOKWIRE_SERVER_RPC_LIST_HOOKS_H_

#include <c10/core/ScalarType.h>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "hookwire/v1/service.pb.h"
#include "model/adapter/catalogue.h"

namespace hookwire::server {

// Writes the hook points that match any of the filters, in the order of the pass, into an empty
// message; all hook points if there are no filters. Errors of Catalogue::Match, with the filter as
// the field to blame; InvalidArgument (BAD_FIELD) for more than 1000 filters; errors of
// `keep_going`, which is called for each filter.
absl::Status ListMatchingHooks(const model::Catalogue& catalogue, at::ScalarType compute,
                               const v1::ListHooksRequest& request,
                               absl::FunctionRef<absl::Status()> keep_going,
                               v1::ListHooksResponse& response);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_RPC_LIST_HOOKS_H_
