#ifndef HOOKWIRE_MODEL_NN_GELU_H_
#define HOOKWIRE_MODEL_NN_GELU_H_

#include <ATen/core/Tensor.h>

#include "model/numerics.h"

namespace hookwire::model {

// gelu(gate) × up, where gelu is the tanh approximation of the Gaussian error linear unit
// (Hendrycks & Gimpel 2016). In bfloat16, `reference` rounds after each of the two, as Transformers
// does, and the others once; in `invariant` a row's bits depend on nothing else. gate and up are
// [rows, d].
at::Tensor GatedGelu(const at::Tensor& gate, const at::Tensor& up, Numerics numerics);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_GELU_H_
