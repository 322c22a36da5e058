// Resolves a selection of the request: which indices of an axis it means.
#ifndef HOOKWIRE_SERVER_PLAN_SELECTION_H_
#define HOOKWIRE_SERVER_PLAN_SELECTION_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "hookwire/v1/tensor.pb.h"
#include "model/adapter/catalogue.h"
#include "server/plan/field_path.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

// The axis that is selected from, as errors describe it.
struct AxisPlace {
  model::AxisKind kind;
  // The axis's name: "pos", "head", "d_model", …
  std::string name;
  int64_t size;
  // Canonical name of the hook point; "logits" or "log_probs" for outputs.
  std::string hook;
  int sequence;
  // Whether these are rows of a parameter, whose name is then `hook`.
  bool is_weight = false;
};

// Resolves one Selection for axes of any size. Caches the results, because a glob asks for the same
// sizes again and again. Thread-compatible.
class Picker {
 public:
  // `selection` is null if the request has none, which means the whole axis. It must outlive the
  // picker.
  explicit Picker(const v1::Selection* selection) : selection_(selection) {}

  bool has_selection() const { return selection_ != nullptr; }

  // OutOfRange for an index or bound outside the axis; InvalidArgument (BAD_SELECTION) for a
  // selection of nothing, an index that is named twice, and a step below 1. `place` is called for
  // errors only.
  template <typename Place>
  absl::StatusOr<AxisPick> Pick(int64_t size, const FieldPath& path, Place&& place) {
    if (selection_ == nullptr) return AxisPick{0, 1, size, {}};
    for (const auto& [known_size, pick] : known_) {
      if (known_size == size) return pick;
    }
    absl::StatusOr<AxisPick> pick = Resolve(size);
    if (!pick.ok()) return Explain(place(), path);
    known_.emplace_back(size, *pick);
    return pick;
  }

 private:
  // The pick, or which error it is.
  absl::StatusOr<AxisPick> Resolve(int64_t size) const;
  absl::Status Explain(const AxisPlace& place, const FieldPath& path) const;

  const v1::Selection* selection_;
  std::vector<std::pair<int64_t, AxisPick>> known_;
};

// Index `index` of an axis, counted from the end if negative; -1 if it is outside the axis.
inline int64_t FromEnd(int64_t index, int64_t size) {
  if (index >= size || index < -size) return -1;
  return index < 0 ? index + size : index;
}

// OutOfRange: `what` ("position 7", …) is outside the axis.
absl::Status OutsideAxis(const std::string& what, const AxisPlace& place, const FieldPath& path);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_SELECTION_H_
