// y = x Wᵀ + b, in all three numerics.
#ifndef HOOKWIRE_MODEL_NN_LINEAR_H_
#define HOOKWIRE_MODEL_NN_LINEAR_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "model/numerics.h"

namespace hookwire::model {

// Whether products with this weight, [out, in] or [group, out, in], are CpuLinear's: in
// `invariant`, and in `fast` while no gradients are recorded and unless IsLibtorchFaster(weight),
// if HasCpuLinear(weight).
bool UsesCpuLinear(const at::Tensor& weight, Numerics numerics);

struct Linear {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out]; undefined where the checkpoint has none
  // What FindRowTiles found, for `invariant` where HasCpuLinear(weight) is false; else empty.
  std::vector<int64_t> tiles = {};

  // x [rows, in] -> [rows, out]; without tiles, x may have more axes before its last.
  //
  // `reference` uses libtorch's product, whose bits may depend on the number of rows. `fast` and
  // `invariant` use CpuLinear's where UsesCpuLinear, whose bits do not. Elsewhere `fast` uses
  // libtorch's product, and so does `invariant`, but only with the row counts in `tiles`: largest
  // first, and the last tile is filled up with rows of zeros.
  at::Tensor operator()(const at::Tensor& x, Numerics numerics) const;
};

// The row counts, out of 256, 128, 64, 32 and 16 (largest first), at which libtorch's product with
// this weight gives each row the same bits as at 16 rows, wherever in the tile it is and whatever
// the other rows are. No library promises such row counts: they are found by trying, on this
// machine and with this number of threads. FailedPrecondition where a row's bits depend on its
// position even at 16.
absl::StatusOr<std::vector<int64_t>> FindRowTiles(const Linear& linear);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_LINEAR_H_
