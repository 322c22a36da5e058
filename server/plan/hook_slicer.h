// Applies the selections of a capture or an intervention (positions, heads, features) to the axes
// of a hook point.
#ifndef HOOKWIRE_SERVER_PLAN_HOOK_SLICER_H_
#define HOOKWIRE_SERVER_PLAN_HOOK_SLICER_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hookwire/v1/run.pb.h"
#include "model/adapter/catalogue.h"
#include "server/plan/field_path.h"
#include "server/plan/run_plan.h"
#include "server/plan/selection.h"

namespace hookwire::server {

class HookSlicer {
 public:
  // `from` (a Capture or an Intervention) and `path` must outlive the slicer.
  template <typename Selecting>
  HookSlicer(const Selecting& from, const FieldPath& path)
      : path_(path),
        positions_(from.has_positions() ? &from.positions() : nullptr),
        heads_(from.has_heads() ? &from.heads() : nullptr),
        features_(from.has_features() ? &from.features() : nullptr) {}

  // InvalidArgument (NO_HEADS, NO_SUCH_AXIS) if there is a selection for an axis that the hook
  // point does not have.
  absl::Status CheckAxes(const model::HookPoint& point) const;

  // One pick for each axis of the hook point, for sequence `sequence` of `length` tokens. Errors as
  // Picker::Pick. REQUIRES: CheckAxes has passed.
  absl::StatusOr<Slice> Make(const model::HookPoint& point, int sequence, int64_t length);

 private:
  const FieldPath& path_;
  Picker positions_;
  Picker heads_;
  Picker features_;
};

// The number of indices that a slice picks of each axis, outermost first.
Shape ShapeOf(const Slice& slice);

// The sequences that a request names, ascending; all `n_sequences` if it names none. OutOfRange
// (SEQUENCE_OUT_OF_RANGE), or InvalidArgument (BAD_SELECTION) if one is named twice.
absl::StatusOr<std::vector<int>> PickSequences(
    const google::protobuf::RepeatedField<uint32_t>& sequences, int n_sequences,
    const FieldPath& path);

// OutOfRange: there is no sequence `index`.
absl::Status NoSuchSequence(uint32_t index, int n_sequences, const FieldPath& path);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_PLAN_HOOK_SLICER_H_
