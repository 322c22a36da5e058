#include "model/text/project.h"

#include <ATen/ops/cat.h>

#include <cstdint>

namespace hookwire::model {

Ragged Project(const Ragged& x, const Linear& linear, Numerics numerics) {
  if (numerics != Numerics::kInvariant || x.size() == 1) {
    return Map(x, [&](const at::Tensor& part) { return linear(part, numerics); });
  }
  return SplitLike(x, linear(AllRows(x), numerics));
}

at::Tensor AllRows(const Ragged& x) { return at::cat(at::TensorList(x.data(), x.size()), 0); }

Ragged SplitLike(const Ragged& x, const at::Tensor& rows) {
  Ragged out;
  int64_t row = 0;
  for (const at::Tensor& part : x) {
    out.push_back(rows.narrow(0, row, part.size(0)));
    row += part.size(0);
  }
  return out;
}

}  // namespace hookwire::model
