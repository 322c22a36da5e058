// A selection of the request against one axis: which indices take part.
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

// The axis that is picked from; what an error says of it.
struct AxisPlace {
  model::AxisKind kind;
  // Of the axis: "pos", "head", "d_model", …
  std::string name;
  int64_t size;
  // Canonical name of the hook point; "logits" or "log_probs" for outputs.
  std::string hook;
  int sequence;
  // Rows of a parameter, whose name `hook` is.
  bool is_weight = false;
};

// One Selection, resolved against axes of any size. Remembers what it has resolved, because a glob
// asks for the same sizes over and over; so one picker serves one thread.
class Picker {
 public:
  // `selection` is null where the request has none: the whole axis. It must outlive the picker.
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
  // The pick, or an error without words.
  absl::StatusOr<AxisPick> Resolve(int64_t size) const;
  absl::Status Explain(const AxisPlace& place, const FieldPath& path) const;

  const v1::Selection* selection_;
  std::vector<std::pair<int64_t, AxisPick>> known_;
};

// Index `index` of an axis, counted from the end where negative; -1 where it lies outside.
inline int64_t FromEnd(int64_t index, int64_t size) {
  if (index >= size || index < -size) return -1;
  return index < 0 ? index + size : index;
}

// OutOfRange: `what` ("position 7", …) lies outside the axis.
absl::Status OutsideAxis(const std::string& what, const AxisPlace& place, const FieldPath& path);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_SELECTION_H_
