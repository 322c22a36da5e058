#ifndef HOOKWIRE_MODEL_NN_RMS_NORM_H_
#define HOOKWIRE_MODEL_NN_RMS_NORM_H_

#include <ATen/core/Tensor.h>

#include "model/numerics.h"

namespace hookwire::model {

// y = x / √(mean(x²) + eps) × weight, computed in float32 over the last axis and returned in x's
// dtype (Zhang & Sennrich 2019, with Gemma 4's plain weight: no 1 + w). An undefined weight
// means 1.
at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps, Numerics numerics);

// The same norm in separate steps, for hooks on its scale and its normalized value.
struct RmsNormSteps {
  at::Tensor input;       // x in float32
  at::Tensor scale;       // √(mean(x²) + eps): [..., 1]
  at::Tensor normalized;  // x / scale, float32
};
RmsNormSteps BeginRmsNorm(const at::Tensor& x, double eps);
// normalized × weight, in `dtype`.
at::Tensor EndRmsNorm(const at::Tensor& normalized, const at::Tensor& weight, at::ScalarType dtype);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_RMS_NORM_H_
