#include "server/rpc/list_hooks.h"

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/errors/errors.h"
#include "server/errors/status_macros.h"
#include "server/plan/name_matcher.h"
#include "server/rpc/describe_model.h"

namespace hookwire::server {
namespace {

constexpr int kMaxFilters = 1000;

}  // namespace

absl::Status ListMatchingHooks(const model::Catalogue& catalogue, at::ScalarType compute,
                               const v1::ListHooksRequest& request,
                               absl::FunctionRef<absl::Status()> keep_going,
                               v1::ListHooksResponse& response) {
  if (request.filters_size() > kMaxFilters) {
    return MakeError(
        absl::StatusCode::kInvalidArgument,
        absl::StrCat("at most ", kMaxFilters, " filters, not ", request.filters_size()),
        {v1::ERROR_REASON_BAD_FIELD, "filters", {}});
  }
  NameMatcher names(catalogue);
  std::vector<bool> wanted(static_cast<size_t>(catalogue.size()), request.filters_size() == 0);
  for (int i = 0; i < request.filters_size(); ++i) {
    HOOKWIRE_RETURN_IF_ERROR(keep_going());
    const std::shared_ptr<const NameMatcher::Matches> matches = names.Match(request.filters(i));
    if (!matches->ok()) return WithField(matches->status(), absl::StrCat("filters[", i, "]"));
    for (const model::NameMatch& match : **matches) wanted[static_cast<size_t>(match.id)] = true;
  }
  for (const model::HookPoint& point : catalogue.points()) {
    if (wanted[static_cast<size_t>(point.id)]) *response.add_hooks() = DescribeHook(point, compute);
  }
  return absl::OkStatus();
}

}  // namespace hookwire::server
