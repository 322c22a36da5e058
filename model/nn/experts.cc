#include "model/nn/experts.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_grouped_mm.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/histc.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/topk.h>

#include <cmath>
#include <tuple>

#include "model/nn/cpu_linear.h"
#include "model/nn/gelu.h"
#include "model/nn/linear.h"
#include "model/nn/rms_norm.h"

namespace hookwire::model {
namespace {

// In bytes, of the memory that libtorch allocates.
constexpr uintptr_t kAlignment = 64;

// Multiplies each expert's rows of x, which end at ends[expert], by the transposed weight of that
// expert: x [rows, in], weights [expert, out, in] -> [rows, out].
at::Tensor Products(const at::Tensor& x, const at::Tensor& weights,
                    const std::vector<int64_t>& tiles, const at::Tensor& ends, Numerics numerics,
                    absl::FunctionRef<void()> between_steps) {
  if (UsesCpuLinear(weights, numerics)) return CpuGroupedLinear(x, weights, ends);
  if (numerics != Numerics::kInvariant) {
    return at::_grouped_mm(x, weights.transpose(-2, -1), ends);
  }
  const at::Tensor host_ends = ends.cpu();
  at::Tensor out = at::empty({x.size(0), weights.size(1)}, x.options());
  int64_t first = 0;
  for (int64_t expert = 0; expert < weights.size(0); ++expert) {
    const int64_t end = host_ends.const_data_ptr<int32_t>()[expert];
    if (end == first) continue;
    between_steps();
    const Linear linear{.weight = weights.select(0, expert), .bias = {}, .tiles = tiles};
    // The bits of a product depend on the alignment of x, and FindRowTiles tries aligned ones only.
    at::Tensor rows = x.narrow(0, first, end - first);
    if (reinterpret_cast<uintptr_t>(rows.const_data_ptr()) % kAlignment != 0) rows = rows.clone();
    out.narrow(0, first, end - first).copy_(linear(rows, numerics));
    first = end;
  }
  return out;
}

}  // namespace

at::Tensor RouterScores(const at::Tensor& x, const RouterWeights& weights, double eps,
                        Numerics numerics) {
  const double shrink = std::pow(static_cast<double>(x.size(-1)), -0.5);
  const Linear projection{.weight = weights.projection, .bias = {}};
  return projection(RmsNorm(x, {}, eps, numerics) * weights.scale * shrink, numerics);
}

at::Tensor RouterProbabilities(const at::Tensor& scores) {
  return at::softmax(scores, -1, at::kFloat);
}

Routing ChooseExperts(const at::Tensor& probabilities, const RouterWeights& weights, int64_t k) {
  const auto [largest, indices] = at::topk(probabilities, k, -1);
  const at::Tensor shares = largest / largest.sum(-1, /*keepdim=*/true);
  return {shares * weights.per_expert_scale.index({indices}), indices};
}

at::Tensor RunExperts(const at::Tensor& x, const Routing& routing, const ExpertWeights& weights,
                      Numerics numerics, absl::FunctionRef<void()> between_steps) {
  const int64_t rows = x.size(0);
  const int64_t n_experts = weights.gate_up.size(0);
  const int64_t k = routing.indices.size(1);
  if (rows == 0) return x;
  // Pairs of row and expert, sorted by expert, so that each expert's rows are adjacent.
  const at::Tensor experts = routing.indices.reshape(-1);              // [rows × k]
  const auto [sorted_experts, order] = at::sort(experts);              // both [rows × k]
  const at::Tensor inputs = x.index_select(0, order.floor_divide(k));  // [rows × k, d_model]
  const at::Tensor counts = at::histc(sorted_experts.to(x.is_cuda() ? at::kInt : at::kFloat),
                                      n_experts, 0, n_experts - 1);
  const at::Tensor ends =
      at::cumsum(counts, 0, at::kInt);  // [expert]: where each expert's rows end

  const at::Tensor gate_up = Products(inputs, weights.gate_up, weights.gate_up_tiles, ends,
                                      numerics, between_steps);  // [rows × k, 2 × d_expert]
  const auto halves = gate_up.chunk(2, -1);
  const at::Tensor activated = GatedGelu(halves[0], halves[1], numerics);  // [rows × k, d_expert]
  between_steps();
  const at::Tensor outputs = Products(activated, weights.down, weights.down_tiles, ends, numerics,
                                      between_steps);  // [rows × k, d_model]

  const at::Tensor weighted =
      outputs * routing.weights.reshape(-1).index_select(0, order).unsqueeze(-1);
  at::Tensor back = at::empty_like(order);
  back.index_put_({order}, at::arange(order.size(0), order.options()));
  const at::Tensor by_row = weighted.index_select(0, back).view({rows, k, x.size(1)});
  if (numerics != Numerics::kInvariant) return by_row.sum(1).to(x.scalar_type());
  at::Tensor sum = by_row.select(1, 0);
  for (int64_t i = 1; i < k; ++i) sum = sum + by_row.select(1, i);
  return sum.to(x.scalar_type());
}

}  // namespace hookwire::model
