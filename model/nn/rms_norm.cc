#include "model/nn/rms_norm.h"

#include <ATen/TensorOperators.h>

#include "model/nn/cpu_kernels.h"

namespace hookwire::model {
namespace {

at::Tensor MeanSquare(const at::Tensor& x, double eps) {
  return x.pow(2).mean(-1, /*keepdim=*/true) + eps;
}

}  // namespace

RmsNormSteps BeginRmsNorm(const at::Tensor& x, double eps) {
  RmsNormSteps steps;
  steps.input = x.to(at::kFloat);
  const at::Tensor mean_square = MeanSquare(steps.input, eps);
  steps.scale = mean_square.sqrt();
  steps.normalized = steps.input * mean_square.pow(-0.5);
  return steps;
}

at::Tensor EndRmsNorm(const at::Tensor& normalized, const at::Tensor& weight,
                      at::ScalarType dtype) {
  return (weight.defined() ? normalized * weight.to(at::kFloat) : normalized).to(dtype);
}

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps, Numerics numerics) {
  if (numerics != Numerics::kReference && HasCpuKernels(x)) return CpuRmsNorm(x, weight, eps);
  const at::Tensor input = x.to(at::kFloat);
  const at::Tensor normalized = input * MeanSquare(input, eps).pow(-0.5);
  return EndRmsNorm(normalized, weight, x.scalar_type());
}

}  // namespace hookwire::model
