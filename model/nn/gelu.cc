#include "model/nn/gelu.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/gelu.h>

#include "model/nn/cpu_kernels.h"

namespace hookwire::model {

at::Tensor GatedGelu(const at::Tensor& gate, const at::Tensor& up, Numerics numerics) {
  if (numerics != Numerics::kReference && HasCpuKernels(gate)) return CpuGatedGelu(gate, up);
  if (numerics != Numerics::kReference && gate.scalar_type() == at::kBFloat16) {
    return (at::gelu(gate.to(at::kFloat), "tanh") * up).to(at::kBFloat16);
  }
  return at::gelu(gate, "tanh") * up;
}

}  // namespace hookwire::model
