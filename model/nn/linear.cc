#include "model/nn/linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/sin.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/nn/cpu_linear.h"

namespace hookwire::model {
namespace {

constexpr int64_t kLeastTile = 16;
constexpr int64_t kTiles[] = {256, 128, 64, 32};

// libtorch's product.
at::Tensor Product(const Linear& linear, const at::Tensor& x) {
  return linear.bias.defined() ? at::linear(x, linear.weight, linear.bias)
                               : at::linear(x, linear.weight);
}

// Rows to try: numbers in (−1, 1) without a pattern, [rows, in], the same on every call.
at::Tensor Probes(const Linear& linear, int64_t rows) {
  const int64_t in = linear.weight.size(1);
  const auto options = at::TensorOptions().dtype(at::kDouble).device(linear.weight.device());
  return at::sin(at::arange(rows * in, options).square_().mul_(0.6180339887))
      .view({rows, in})
      .to(linear.weight.scalar_type());
}

}  // namespace

bool UsesCpuLinear(const at::Tensor& weight, Numerics numerics) {
  const bool wanted =
      numerics == Numerics::kInvariant ||
      (numerics == Numerics::kFast && !at::GradMode::is_enabled() && !IsLibtorchFaster(weight));
  return wanted && HasCpuLinear(weight);
}

at::Tensor Linear::operator()(const at::Tensor& x, Numerics numerics) const {
  if (UsesCpuLinear(weight, numerics)) {
    at::Tensor y = CpuLinear(x, weight);
    return bias.defined() ? y.add_(bias) : y;
  }
  if (numerics != Numerics::kInvariant || tiles.empty()) return Product(*this, x);
  std::vector<at::Tensor> parts;
  const int64_t rows = x.size(0);
  for (int64_t row = 0; row < rows;) {
    const int64_t left = rows - row;
    const auto fits =
        std::find_if(tiles.begin(), tiles.end(), [left](int64_t tile) { return tile <= left; });
    if (fits != tiles.end()) {
      parts.push_back(Product(*this, x.narrow(0, row, *fits)));
      row += *fits;
      continue;
    }
    const at::Tensor filled =
        at::constant_pad_nd(x.narrow(0, row, left), {0, 0, 0, tiles.back() - left});
    parts.push_back(Product(*this, filled).narrow(0, 0, left));
    row = rows;
  }
  if (parts.empty()) return Product(*this, x);
  return parts.size() == 1 ? parts.front().contiguous() : at::cat(parts, 0);
}

absl::StatusOr<std::vector<int64_t>> FindRowTiles(const Linear& linear) {
  const at::Tensor x = Probes(linear, kTiles[0]);
  std::vector<at::Tensor> parts;
  for (int64_t row = 0; row < x.size(0); row += kLeastTile) {
    parts.push_back(Product(linear, x.narrow(0, row, kLeastTile)));
  }
  const at::Tensor expected = at::cat(parts, 0);
  // Whether each row has the expected bits in a tile of `tile` rows, `by` rows further down.
  const auto moved = [&](int64_t tile, int64_t by) {
    const at::Tensor turned = x.roll({by}, {0}).narrow(0, 0, tile);
    return at::equal(Product(linear, turned.contiguous()),
                     expected.roll({by}, {0}).narrow(0, 0, tile));
  };
  for (const int64_t by : {1, 5, 12}) {
    if (moved(kLeastTile, by)) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "--numerics invariant: on this machine the bits of a product with a weight of [",
        linear.weight.size(0), ", ", linear.weight.size(1),
        "] depend on the position of a row; use --numerics fast or reference"));
  }
  std::vector<int64_t> tiles;
  for (const int64_t tile : kTiles) {
    if (moved(tile, 0) && moved(tile, 7)) tiles.push_back(tile);
  }
  tiles.push_back(kLeastTile);
  return tiles;
}

}  // namespace hookwire::model
