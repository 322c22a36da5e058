// Small operators that libtorch has only as chains of ten calls, or with bits that depend on where
// a row stands, as one pass over memory each: for `fast` and `invariant` numerics on the CPU.
//
// They have no gradients: the callers choose them only where none are wanted. Results do not depend
// on the number of rows, of threads, or on the processor's instruction set.
#ifndef HOOKWIRE_MODEL_NN_CPU_KERNELS_H_
#define HOOKWIRE_MODEL_NN_CPU_KERNELS_H_

#include <ATen/core/Tensor.h>

namespace hookwire::model {

// Whether the kernels below take this tensor: on the CPU, float32 or bfloat16, and no gradient is
// being recorded.
bool HasCpuKernels(const at::Tensor& x);

// RmsNorm over the last axis; see nn/rms_norm.h. Any leading axes.
at::Tensor CpuRmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps);

// ApplyRotary; see nn/rotary.h. x [rows, head, d_head], cos and sin [rows, d_head].
at::Tensor CpuApplyRotary(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

// weight[ids] × scale: weight [word, d], ids int64 [rows], checked; scale 0-d, in the weight's
// dtype. The bits are those of the two operators, one after the other.
at::Tensor CpuScaledEmbedding(const at::Tensor& weight, const at::Tensor& ids,
                              const at::Tensor& scale);

// GatedGelu, rounded once; see nn/gelu.h. gate and up [rows, d]; their rows may be apart.
at::Tensor CpuGatedGelu(const at::Tensor& gate, const at::Tensor& up);

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_NN_CPU_KERNELS_H_
