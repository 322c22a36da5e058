// Reads slices of tensors, and changes them in place.
#ifndef HOOKWIRE_SERVER_EXECUTE_SLICES_H_
#define HOOKWIRE_SERVER_EXECUTE_SLICES_H_

#include <ATen/core/Tensor.h>

#include <functional>

#include "absl/types/span.h"
#include "server/plan/run_plan.h"

namespace hookwire::server {

// The picked elements, with one pick for each axis: a view if all picks are ranges, else a copy.
at::Tensor ReadSlice(const at::Tensor& tensor, absl::Span<const AxisPick> picks);

// Changes the picked elements of `tensor` in place: `change` is given a tensor of them, in the
// shape of the picks. All other elements keep their bits.
void ChangeSlice(const at::Tensor& tensor, absl::Span<const AxisPick> picks,
                 const std::function<void(at::Tensor&)>& change);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_SLICES_H_
