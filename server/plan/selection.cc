#include "server/plan/selection.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace hookwire::server {
namespace {

// The error of a selection.
struct Fault {
  enum Kind { kNone, kOutside, kOutsideStart, kOutsideStop, kEmpty, kEmptyRange, kTwice, kStep };
  Kind kind = kNone;
  int64_t index = 0;
  // kTwice: the other name of the same index.
  int64_t other = 0;
};

// An ascending, evenly spaced list as a range; a list of indices otherwise.
AxisPick Compact(const std::vector<int64_t>& indices) {
  const auto count = static_cast<int64_t>(indices.size());
  if (count == 1) return AxisPick{indices[0], 1, 1, {}};
  const int64_t step = indices[1] - indices[0];
  bool even = step > 0;
  for (size_t i = 2; even && i < indices.size(); ++i) even = indices[i] - indices[i - 1] == step;
  if (even) return AxisPick{indices[0], step, count, {}};
  at::Tensor list = at::empty({count}, at::kLong);  // [count]
  std::memcpy(list.mutable_data_ptr(), indices.data(), indices.size() * sizeof(int64_t));
  return AxisPick{0, 1, count, std::move(list)};
}

Fault ResolveIndices(const v1::Indices& list, int64_t size, AxisPick& pick) {
  if (list.values().empty()) return {Fault::kEmpty};
  std::vector<int64_t> indices;
  indices.reserve(static_cast<size_t>(list.values_size()));
  for (const int64_t value : list.values()) {
    const int64_t index = FromEnd(value, size);
    if (index < 0) return {Fault::kOutside, value};
    indices.push_back(index);
  }
  pick = Compact(indices);
  if (pick.IsRange()) return {};

  std::vector<int64_t> sorted = indices;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice == sorted.end()) return {};
  const auto first = std::find(indices.begin(), indices.end(), *twice);
  const auto second = std::find(first + 1, indices.end(), *twice);
  return {Fault::kTwice, list.values(static_cast<int>(first - indices.begin())),
          list.values(static_cast<int>(second - indices.begin()))};
}

Fault ResolveRange(const v1::Range& range, int64_t size, AxisPick& pick) {
  const int64_t step = range.has_step() ? range.step() : 1;
  if (step < 1) return {Fault::kStep, step};
  int64_t start = 0;
  if (range.has_start()) {
    start = FromEnd(range.start(), size);
    if (start < 0) return {Fault::kOutsideStart, range.start()};
  }
  int64_t stop = size;
  if (range.has_stop()) {
    stop = range.stop() < 0 ? range.stop() + size : range.stop();
    if (stop < 0 || stop > size) return {Fault::kOutsideStop, range.stop()};
  }
  if (start >= stop) return {Fault::kEmptyRange, start, stop};
  const int64_t count = 1 + (stop - start - 1) / step;
  pick = AxisPick{start, count == 1 ? 1 : step, count, {}};
  return {};
}

Fault ResolveSelection(const v1::Selection& selection, int64_t size, AxisPick& pick) {
  return selection.kind_case() == v1::Selection::kIndices
             ? ResolveIndices(selection.indices(), size, pick)
             : ResolveRange(selection.range(), size, pick);
}

const char* Singular(const AxisPlace& place) {
  if (place.is_weight) return "row";
  switch (place.kind) {
    case model::AxisKind::kPosition:
      return "position";
    case model::AxisKind::kKeyPosition:
      return "key position";
    case model::AxisKind::kHead:
      return "head";
    case model::AxisKind::kKeyValueHead:
      return "key-value head";
    case model::AxisKind::kFeature:
      break;
  }
  return "feature";
}

v1::ErrorReason OutOfRangeReason(const AxisPlace& place) {
  if (place.is_weight) return v1::ERROR_REASON_ROW_OUT_OF_RANGE;
  switch (place.kind) {
    case model::AxisKind::kPosition:
    case model::AxisKind::kKeyPosition:
      return v1::ERROR_REASON_POSITION_OUT_OF_RANGE;
    case model::AxisKind::kHead:
    case model::AxisKind::kKeyValueHead:
      return v1::ERROR_REASON_HEAD_OUT_OF_RANGE;
    case model::AxisKind::kFeature:
      break;
  }
  return v1::ERROR_REASON_FEATURE_OUT_OF_RANGE;
}

bool CountsTokens(const AxisPlace& place) {
  return place.kind == model::AxisKind::kPosition || place.kind == model::AxisKind::kKeyPosition;
}

// "sequence 1, which has 5 tokens", "blocks.0.attn.q.hook_out, which has 4 heads", …
std::string Where(const AxisPlace& place) {
  const std::string size = absl::StrCat(place.size);
  const char* plural = place.size == 1 ? "" : "s";
  if (CountsTokens(place)) {
    return absl::StrCat("sequence ", place.sequence, ", which has ", size, " token", plural);
  }
  if (place.kind == model::AxisKind::kFeature && !place.is_weight) {
    return absl::StrCat(place.hook, ", whose axis ", place.name, " has ", size, " element", plural);
  }
  return absl::StrCat(place.hook, ", which has ", size, " ", Singular(place), plural);
}

Metadata Facts(const AxisPlace& place) {
  Metadata facts = {{place.is_weight ? "weight" : "hook", place.hook},
                    {"limit", absl::StrCat(place.size)}};
  if (CountsTokens(place)) facts.emplace_back("sequence", absl::StrCat(place.sequence));
  return facts;
}

}  // namespace

absl::Status OutsideAxis(const std::string& what, const AxisPlace& place, const FieldPath& path) {
  return InputError(OutOfRangeReason(place), path,
                    absl::StrCat(what, " is out of range in ", Where(place), ": they go from 0 to ",
                                 place.size - 1, ", or from -", place.size, " to -1"),
                    Facts(place));
}

absl::StatusOr<AxisPick> Picker::Resolve(int64_t size) const {
  AxisPick pick;
  if (ResolveSelection(*selection_, size, pick).kind == Fault::kNone) return pick;
  return absl::InvalidArgumentError("");
}

absl::Status Picker::Explain(const AxisPlace& place, const FieldPath& path) const {
  AxisPick pick;
  const Fault fault = ResolveSelection(*selection_, place.size, pick);
  const std::string one = Singular(place);
  const auto bad = [&](const std::string& message) {
    return InputError(v1::ERROR_REASON_BAD_SELECTION, path, message, Facts(place));
  };
  switch (fault.kind) {
    case Fault::kOutside:
      return OutsideAxis(absl::StrCat(one, " ", fault.index), place, path);
    case Fault::kOutsideStart:
      return OutsideAxis(absl::StrCat("start ", fault.index, " of a range of ", one, "s"), place,
                         path);
    case Fault::kOutsideStop:
      return InputError(
          OutOfRangeReason(place), path,
          absl::StrCat("stop ", fault.index, " of a range of ", one, "s is out of range in ",
                       Where(place), ": it is one past the last index, at most ", place.size,
                       ", and is not clipped"),
          Facts(place));
    case Fault::kEmpty:
      return bad(absl::StrCat("the list of ", one,
                              "s is empty: name at least one, or leave the selection out to mean "
                              "all"));
    case Fault::kEmptyRange:
      return bad(absl::StrCat("the range of ", one, "s from ", fault.index, " to ", fault.other,
                              " (stop not included) is empty in ", Where(place)));
    case Fault::kTwice:
      return bad(fault.index == fault.other
                     ? absl::StrCat(one, " ", fault.index, " is named twice: name it once")
                     : absl::StrCat(one, "s ", fault.index, " and ", fault.other,
                                    " are the same in ", Where(place), ": name it once"));
    case Fault::kStep:
      return bad(absl::StrCat("the step of a range of ", one, "s is ", fault.index,
                              ": it must be at least 1; for another order give a list of indices"));
    case Fault::kNone:
      break;
  }
  return absl::InternalError("a selection was refused for no reason");
}

}  // namespace hookwire::server
