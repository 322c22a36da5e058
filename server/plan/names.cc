// Whether the pass reaches a hook point, and the error if it does not.
#include <string>

#include "absl/strings/str_cat.h"
#include "server/plan/planning.h"

namespace hookwire::server {

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
