// y = x Wᵀ + b, in each of the numerics.
#ifndef HOOKWIRE_MODEL_NN_LINEAR_H_
#define HOOKWIRE_MODEL_NN_LINEAR_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "model/numerics.h"

namespace hookwire::model {

// Whether CpuLinear computes with this weight [out, in] or [group, out, in]: where it can, in
// `invariant`, and in `fast` while no gradients are recorded.
bool UsesCpuLinear(const at::Tensor& weight, Numerics numerics);

struct Linear {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out]; undefined where the checkpoint has none
  // For `invariant` where CpuLinear has no products of this weight (FindRowTiles).
  std::vector<int64_t> tiles = {};

  // x [rows, in] -> [rows, out]; without tiles x may have more axes before its last. `reference`:
  // libtorch's product, whose bits may depend on how many rows there are. `fast` and `invariant`:
  // CpuLinear's (UsesCpuLinear), whose bits do not; else libtorch's, which `invariant` makes of the
  // row counts in `tiles` alone, largest first, the last one filled up with zeros.
  at::Tensor operator()(const at::Tensor& x, Numerics numerics) const;
};

// The row counts, out of 256, 128, 64, 32 and 16, at which products with this weight give a row the
// same bits: the same as at 16, at every place in the tile, beside whatever other rows. Found by
// trying, on this machine and with this number of threads, since no library promises it.
// FailedPrecondition where a row's bits depend on its place even at 16.
absl::StatusOr<std::vector<int64_t>> FindRowTiles(const Linear& linear);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_LINEAR_H_
