// Slices of tensors: read, and changed in place.
#ifndef HOOKWIRE_SERVER_EXECUTE_SLICES_H_
#define HOOKWIRE_SERVER_EXECUTE_SLICES_H_

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "server/plan/run_plan.h"

namespace hookwire::server {

// The picked elements, one pick an axis: a view where all picks are ranges, a copy where one is a
// list.
at::Tensor ReadSlice(const at::Tensor& tensor, const std::vector<AxisPick>& picks);

// Lets `change` work in place on the picked elements of `tensor`, and on no others: these keep
// their bits. `change` is given a tensor of the picks' shape.
void ChangeSlice(const at::Tensor& tensor, const std::vector<AxisPick>& picks,
                 const std::function<void(at::Tensor&)>& change);

}  // namespace hookwire::server

#endif  // HOOKWIRE_SERVER_EXECUTE_SLICES_H_
