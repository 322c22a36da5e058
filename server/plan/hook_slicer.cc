#include "server/plan/hook_slicer.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/errors/status_macros.h"

namespace hookwire::server {
namespace {

using model::AxisKind;

bool HasAxis(const model::HookPoint& point, AxisKind kind) {
  return std::any_of(point.axes.begin(), point.axes.end(),
                     [kind](const model::Axis& axis) { return axis.kind == kind; });
}

// "[pos, d_model]".
std::string AxisNames(const model::HookPoint& point) {
  return absl::StrCat("[",
                      absl::StrJoin(point.axes, ", ",
                                    [](std::string* out, const model::Axis& axis) {
                                      out->append(axis.name.data(), axis.name.size());
                                    }),
                      "]");
}

bool IsFeatureLike(const model::Axis& axis) {
  return axis.kind == AxisKind::kFeature || axis.kind == AxisKind::kKeyPosition;
}

}  // namespace

absl::Status HookSlicer::CheckAxes(const model::HookPoint& point) const {
  const auto missing = [&](v1::ErrorReason reason, const char* field, const std::string& what) {
    return InputError(reason, FieldPath(path_, field),
                      absl::StrCat(point.name, " has no ", what, ": its axes are ",
                                   AxisNames(point), ", so leave `", field, "` out"),
                      {{"hook", point.name}, {"axes", AxisNames(point)}});
  };
  if (heads_.has_selection() && !HasAxis(point, AxisKind::kHead) &&
      !HasAxis(point, AxisKind::kKeyValueHead)) {
    return missing(v1::ERROR_REASON_NO_HEADS, "heads", "heads");
  }
  if (positions_.has_selection() && !HasAxis(point, AxisKind::kPosition)) {
    return missing(v1::ERROR_REASON_NO_SUCH_AXIS, "positions", "positions");
  }
  if (features_.has_selection() && !IsFeatureLike(point.axes.back())) {
    return missing(v1::ERROR_REASON_NO_SUCH_AXIS, "features", "features");
  }
  return absl::OkStatus();
}

absl::StatusOr<Slice> HookSlicer::Make(const model::HookPoint& point, int sequence,
                                       int64_t length) {
  Slice slice;
  slice.sequence = sequence;
  for (size_t i = 0; i < point.axes.size(); ++i) {
    const model::Axis& axis = point.axes[i];
    const bool is_last = i + 1 == point.axes.size();
    const bool is_position = axis.kind == AxisKind::kPosition;
    const int64_t size = is_position || axis.kind == AxisKind::kKeyPosition ? length : axis.size;
    const auto pick = [&](Picker& picker, const char* field) {
      return picker.Pick(size, FieldPath(path_, field), [&] {
        return AxisPlace{axis.kind, std::string(axis.name), size, point.name, sequence};
      });
    };
    absl::StatusOr<AxisPick> picked = AxisPick{0, 1, size, {}};
    if (is_position) {
      picked = pick(positions_, "positions");
    } else if (axis.kind == AxisKind::kHead || axis.kind == AxisKind::kKeyValueHead) {
      picked = pick(heads_, "heads");
    } else if (is_last) {
      picked = pick(features_, "features");
    }
    if (!picked.ok()) return std::move(picked).status();
    slice.picks.push_back(*std::move(picked));
  }
  return slice;
}

Shape ShapeOf(const Slice& slice) {
  Shape shape;
  for (const AxisPick& pick : slice.picks) shape.push_back(pick.count);
  return shape;
}

absl::Status NoSuchSequence(uint32_t index, int n_sequences, const FieldPath& path) {
  return InputError(
      v1::ERROR_REASON_SEQUENCE_OUT_OF_RANGE, path,
      absl::StrCat("there is no sequence ", index, ": the run has ", n_sequences, ", numbered ",
                   n_sequences == 1 ? "0" : absl::StrCat("0 to ", n_sequences - 1)),
      {{"sequence", absl::StrCat(index)}, {"limit", absl::StrCat(n_sequences)}});
}

absl::StatusOr<std::vector<int>> PickSequences(
    const google::protobuf::RepeatedField<uint32_t>& sequences, int n_sequences,
    const FieldPath& path) {
  std::vector<int> picked;
  if (sequences.empty()) {
    picked.reserve(static_cast<size_t>(n_sequences));
    for (int s = 0; s < n_sequences; ++s) picked.push_back(s);
    return picked;
  }
  picked.reserve(static_cast<size_t>(sequences.size()));
  for (const uint32_t s : sequences) {
    if (s >= static_cast<uint32_t>(n_sequences)) return NoSuchSequence(s, n_sequences, path);
    picked.push_back(static_cast<int>(s));
  }
  std::sort(picked.begin(), picked.end());
  const auto twice = std::adjacent_find(picked.begin(), picked.end());
  if (twice != picked.end()) {
    return InputError(v1::ERROR_REASON_BAD_SELECTION, path,
                      absl::StrCat("sequence ", *twice, " is named twice: name it once"),
                      {{"sequence", absl::StrCat(*twice)}});
  }
  return picked;
}

}  // namespace hookwire::server
