// y = x Wᵀ + b, as it comes or in tiles of verified row counts.
#ifndef HOOKWIRE_MODEL_NN_LINEAR_H_
#define HOOKWIRE_MODEL_NN_LINEAR_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

namespace hookwire::model {

struct Linear {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out]; undefined where the checkpoint has none
  // Empty: one product for all rows, whose bits may depend on how many they are. Else products of
  // these row counts alone, largest first, the last one filled up with zeros (FindRowTiles).
  std::vector<int64_t> tiles;

  // x [rows, in] -> [rows, out]. Without tiles x may have more axes before its last.
  at::Tensor operator()(const at::Tensor& x) const;
};

// The row counts, out of 256, 128, 64, 32 and 16, at which products with this weight give a row the
// same bits: the same as at 16, at every place in the tile, beside whatever other rows. Found by
// trying, on this machine and with this number of threads, since no library promises it.
// FailedPrecondition where a row's bits depend on its place even at 16.
absl::StatusOr<std::vector<int64_t>> FindRowTiles(const Linear& linear);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_LINEAR_H_
