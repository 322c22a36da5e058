#include "server/execute/slices.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/slice.h>

#include <cstddef>

namespace hookwire::server {
namespace {

// Selects the ranges among the picks, as a view; axes with lists stay whole.
at::Tensor RangeView(at::Tensor tensor, absl::Span<const AxisPick> picks) {
  for (size_t axis = 0; axis < picks.size(); ++axis) {
    const AxisPick& pick = picks[axis];
    const auto dim = static_cast<int64_t>(axis);
    if (!pick.IsRange() || pick.IsWhole(tensor.size(dim))) continue;
    tensor =
        tensor.slice(dim, pick.start, pick.start + (pick.count - 1) * pick.step + 1, pick.step);
  }
  return tensor;
}

// Selects the lists among the picks from axis `first` on, as a copy.
at::Tensor Gather(at::Tensor view, absl::Span<const AxisPick> picks, size_t first) {
  for (size_t axis = first; axis < picks.size(); ++axis) {
    if (picks[axis].IsRange()) continue;
    view = view.index_select(static_cast<int64_t>(axis), picks[axis].indices.to(view.device()));
  }
  return view;
}

// The inverse of Gather: writes `part` to the elements that Gather read.
void Scatter(const at::Tensor& view, absl::Span<const AxisPick> picks, size_t first,
             const at::Tensor& part) {
  while (first < picks.size() && picks[first].IsRange()) ++first;
  if (first == picks.size()) {
    view.copy_(part);
    return;
  }
  // Takes the rows of the first list, scatters the other lists into them, and writes the rows back.
  const auto dim = static_cast<int64_t>(first);
  const at::Tensor indices = picks[first].indices.to(view.device());
  at::Tensor rows = view.index_select(dim, indices);
  Scatter(rows, picks, first + 1, part);
  view.index_copy_(dim, indices, rows);
}

bool HasLists(absl::Span<const AxisPick> picks) {
  for (const AxisPick& pick : picks) {
    if (!pick.IsRange()) return true;
  }
  return false;
}

}  // namespace

at::Tensor ReadSlice(const at::Tensor& tensor, absl::Span<const AxisPick> picks) {
  return Gather(RangeView(tensor, picks), picks, 0);
}

void ChangeSlice(const at::Tensor& tensor, absl::Span<const AxisPick> picks,
                 const std::function<void(at::Tensor&)>& change) {
  at::Tensor view = RangeView(tensor, picks);
  if (!HasLists(picks)) {
    change(view);
    return;
  }
  at::Tensor part = Gather(view, picks, 0);
  change(part);
  Scatter(view, picks, 0, part);
}

}  // namespace hookwire::server
