#ifndef HOOKWIRE_MODEL_NN_GELU_H_
#define HOOKWIRE_MODEL_NN_GELU_H_

#include <ATen/core/Tensor.h>

#include "model/numerics.h"

namespace hookwire::model {

// gelu(gate) × up, where gelu is the tanh approximation of the Gaussian error linear unit
// (Hendrycks & Gimpel 2016); gate and up are [rows, d]. In bfloat16, `reference` rounds gelu(gate)
// and the product, as Transformers does; `fast` and `invariant` round the product alone. In
// `invariant` a row's bits do not depend on other rows.
at::Tensor GatedGelu(const at::Tensor& gate, const at::Tensor& up, Numerics numerics);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_GELU_H_
