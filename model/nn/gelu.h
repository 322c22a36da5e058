#ifndef HOOKWIRE_MODEL_NN_GELU_H_
#define HOOKWIRE_MODEL_NN_GELU_H_

#include <ATen/core/Tensor.h>
#include <ATen/ops/gelu.h>

namespace hookwire::model {

// The tanh approximation of the Gaussian error linear unit (Hendrycks & Gimpel 2016).
inline at::Tensor GeluTanh(const at::Tensor& x) { return at::gelu(x, "tanh"); }

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_GELU_H_
