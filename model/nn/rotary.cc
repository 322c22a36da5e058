#include "model/nn/rotary.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/zeros.h>

#include "model/nn/cpu_kernels.h"
#include "model/nn/one_thread.h"

namespace hookwire::model {
namespace {

// With fewer angles than this, one thread is faster.
constexpr int64_t kGrainAngles = int64_t{1} << 15;

}  // namespace

at::Tensor InverseFrequencies(const RopeConfig& rope, int64_t d_head) {
  const int64_t pairs = d_head / 2;
  // Truncated as Transformers does: factor × d_head, halved, then cut.
  const int64_t turned =
      rope.proportional
          ? static_cast<int64_t>(rope.partial_rotary_factor * static_cast<double>(d_head)) / 2
          : pairs;
  const at::Tensor exponents =
      at::arange(0, 2 * turned, 2, at::kLong).to(at::kFloat) / static_cast<double>(d_head);
  at::Tensor frequencies = at::pow(at::Scalar(rope.theta), exponents).reciprocal();
  if (turned < pairs) frequencies = at::cat({frequencies, at::zeros({pairs - turned}, at::kFloat)});
  return frequencies;
}

std::pair<at::Tensor, at::Tensor> RotaryFactors(const at::Tensor& positions,
                                                const at::Tensor& inverse_frequencies,
                                                at::ScalarType dtype, Numerics numerics) {
  const at::Tensor half =
      positions.unsqueeze(-1).to(at::kFloat) * inverse_frequencies;  // [rows, d_head / 2]
  const at::Tensor angles = at::cat({half, half}, -1);               // [rows, d_head]
  // libtorch wakes all threads for any number of angles.
  const OneThread small(numerics != Numerics::kReference && angles.numel() < kGrainAngles);
  return {angles.cos().to(dtype), angles.sin().to(dtype)};
}

at::Tensor ApplyRotary(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                       Numerics numerics) {
  if (numerics != Numerics::kReference && HasCpuKernels(x)) return CpuApplyRotary(x, cos, sin);
  const int64_t half = x.size(-1) / 2;
  const at::Tensor turned = at::cat({-x.narrow(-1, half, half), x.narrow(-1, 0, half)}, -1);
  return x * cos.unsqueeze(1) + turned * sin.unsqueeze(1);
}

}  // namespace hookwire::model
