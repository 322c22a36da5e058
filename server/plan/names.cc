// Names of hook points in a request: what they match, and whether the pass comes there.
#include <string>

#include "absl/strings/str_cat.h"
#include "server/plan/planning.h"

namespace hookwire::server {
namespace {

// Longer than any name, and short enough to be compared with all of them.
constexpr size_t kMaxName = 256;

}  // namespace

absl::StatusOr<std::vector<model::NameMatch>> MatchNames(const model::Catalogue& catalogue,
                                                         const std::string& filter,
                                                         const FieldPath& path) {
  if (filter.size() > kMaxName) {
    return InputError(
        v1::ERROR_REASON_HOOK_NOT_FOUND, path,
        absl::StrCat("no hook point is called ", Quote(filter), ": names have at most ", kMaxName,
                     " characters, and this one has ", filter.size()),
        {{"hook", filter}});
  }
  absl::StatusOr<std::vector<model::NameMatch>> matches = catalogue.Match(filter);
  if (matches.ok()) return matches;
  ErrorDetails details = DetailsOf(matches.status());
  details.field = path.str();
  return MakeError(std::string(matches.status().message()), details);
}

bool FiresBefore(const model::HookPoint& point, std::optional<int> stop) {
  return !stop.has_value() || (!point.after_blocks && point.layers_needed <= *stop);
}

absl::Status BehindStop(const model::HookPoint& point, int stop, const FieldPath& path) {
  std::string right;
  Metadata metadata = {{"hook", point.name}, {"stop_at_layer", absl::StrCat(stop)}};
  if (point.after_blocks) {
    right = "leave stop_at_layer out";
  } else if (point.site == model::Site::kBlockIn && point.layer == stop) {
    right = absl::StrCat("that tensor, the residual stream that enters layer ", stop,
                         ", is what such a run can return");
    metadata.emplace_back("suggestion", "outputs.residual");
  } else {
    right = absl::StrCat("it needs stop_at_layer ", point.layers_needed, " or more, or none");
  }
  return InputError(v1::ERROR_REASON_NEVER_FIRES, path,
                    absl::StrCat(point.name, " never fires: the pass ends before layer ", stop,
                                 " (stop_at_layer); ", right),
                    std::move(metadata));
}

}  // namespace hookwire::server
